"use strict";

// Line charts of the last five minutes: SVG, and a table with the same numbers beside it.

const WINDOW_SECONDS = 300;
const VIEW = { width: 300, height: 100 };

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function svgElement(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The least of 1, 2, 5, 10, 20, … that is not below `value`.
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * unit).find((step) => step >= value * 0.999);
}

class Chart {
  // `least` is the upper end of the axis for values that are all below it.
  constructor(id, names, format, least = 1) {
    const figure = document.getElementById(id);
    this.title = figure.querySelector("figcaption").firstChild.data;
    this.format = format;
    this.least = least;
    this.points = [];
    this.paths = names.map((_, index) => svgElement("path", { class: `s${index}`, "vector-effect": "non-scaling-stroke" }));
    const lines = [25, 50, 75].map((y) => svgElement("line", { class: "grid", x1: 0, x2: VIEW.width, y1: y, y2: y, "vector-effect": "non-scaling-stroke" }));
    const box = { viewBox: `0 0 ${VIEW.width} ${VIEW.height}`, preserveAspectRatio: "none", role: "img" };
    const svg = svgElement("svg", { ...box, "aria-label": `${this.title}: a line chart with the numbers of the table below` }, ...lines, ...this.paths);
    this.top = element("span", { class: "top" });
    const plot = element("div", { class: "plot" }, svg, this.top, element("span", { class: "bottom" }, "0"));
    const axis = element("div", { class: "axis", "aria-hidden": "true" }, element("span", {}, "5 minutes ago"), element("span", {}, "now"));
    this.cells = names.map(() => [element("td", {}, "–"), element("td", {}, "–")]);
    const rows = names.map((name, index) => {
      const swatch = svgElement("svg", { class: `swatch s${index}`, viewBox: "0 0 28 8", "aria-hidden": "true" }, svgElement("path", { d: "M1 4H27" }));
      return element("tr", {}, element("th", { scope: "row" }, swatch, name), ...this.cells[index]);
    });
    const head = ["Series", "Now", "Highest"].map((title) => element("th", { scope: "col" }, title));
    figure.append(plot, axis, element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
  }

  // A value that is null or undefined is a gap in its line.
  add(now, values) {
    this.points.push({ at: now, values });
    this.points = this.points.filter((point) => point.at > now - WINDOW_SECONDS);
    const peaks = values.map((_, series) => this.points.reduce((peak, point) => Math.max(peak, point.values[series] ?? -1), -1));
    const highest = ceiling(Math.max(this.least, ...peaks));
    this.top.textContent = this.format(highest);
    values.forEach((value, series) => {
      this.paths[series].setAttribute("d", this.line(now, series, highest));
      const [last, peak] = this.cells[series];
      last.textContent = value == null ? "–" : this.format(value);
      peak.textContent = peaks[series] < 0 ? "–" : this.format(peaks[series]);
    });
  }

  line(now, series, highest) {
    let path = "";
    let open = false;
    for (const { at, values } of this.points) {
      const value = values[series];
      if (value == null) {
        open = false;
        continue;
      }
      const x = (VIEW.width * (1 - (now - at) / WINDOW_SECONDS)).toFixed(1);
      // Half a line's width inside of the frame, so that zero can be seen.
      const y = (VIEW.height - 2 - (VIEW.height - 4) * (value / highest)).toFixed(1);
      path += open ? `L${x} ${y}` : `M${x} ${y}h0`;
      open = true;
    }
    return path;
  }
}
