
// The start page: reads links once, state every two seconds. All text from the service is set as text, never as HTML.

const INTERVAL = 2000;
const byId = (id) => document.getElementById(id);

const COMPONENTS = [
  ["database", "PostgreSQL"],
  ["migrations", "Database schema"],
  ["queue", "Job queue"],
  ["redis", "Redis"],
  ["stripe", "Stripe"],
  ["storage", "Object store"],
  ["scanner", "Virus scanner"],
];
const STATES = { ok: "OK", degraded: "Degraded", down: "Down", draining: "Shutting down" };
const CLASSES = ["2xx", "3xx", "4xx", "5xx"];

const round = (digits) => (value) => value.toLocaleString("en", { maximumFractionDigits: digits });
const inTime = (seconds) => (seconds < 1 ? `${round(1)(seconds * 1000)} ms` : `${round(2)(seconds)} s`);
const charts = {
  responses: new Chart("chart-responses", CLASSES, round(1)),
  latency: new Chart("chart-latency", ["95th percentile"], inTime, 0.01),
  pool: new Chart("chart-pool", ["Busy", "Idle"], round(0)),
  queue: new Chart("chart-queue", ["Waiting", "Running", "Failed", "Dead"], round(0)),
};

async function getJson(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(5000), headers: { accept: "application/json" } });
  return { status: response.status, body: await response.json() };
}

// Links, and who can sign in.

function showLink(item, url, anchor = item.querySelector("a")) {
  if (!url || !/^https?:\/\//.test(url)) return;
  anchor.href = url;
  item.hidden = false;
}

function showUser(title, user) {
  if (!user) return;
  const value = element("dd", {}, element("code", {}, user.email), " with ", element("code", {}, user.password));
  byId("logins").append(element("dt", {}, title), value);
}

async function showLinks() {
  const { status, body } = await getJson("start/links");
  if (status !== 200) throw new Error(body.title);
  showLink(byId("inbox"), body.inbox);
  showLink(byId("stripe"), body.stripe?.url);
  showLink(byId("scrape"), body.metrics);
  if (body.s3) {
    byId("s3").querySelector("code").textContent = body.s3;
    byId("s3").hidden = false;
  }
  const first = body.demo ?? body.admin;
  if (!first) return;
  showUser("Demo user", body.demo);
  showUser("Admin", body.admin);
  if (body.organisation) {
    const { name, slug } = body.organisation;
    byId("organisation").append(`Both are members of the organisation ${name}. The header `, element("code", {}, `X-Account: ${slug}`), " acts for it.");
    byId("organisation").hidden = false;
  }
  const login = new URL("api/v1/auth/login", document.baseURI);
  const credentials = JSON.stringify({ email: first.email, password: first.password });
  byId("curl").textContent = `curl -s --json '${credentials.replaceAll("'", "'\\''")}' \\\n  ${login}`;
  byId("no-users").hidden = true;
  byId("users").hidden = false;
}

byId("copy").addEventListener("click", async () => {
  const copied = byId("copied");
  try {
    await navigator.clipboard.writeText(byId("curl").textContent);
    copied.textContent = "Copied.";
  } catch {
    copied.textContent = "The browser does not allow it here: select the text.";
  }
});

// Health.

function showHealth({ body }) {
  const state = body.status in STATES ? body.status : "down";
  showState(state, `${STATES[state]}${state === "ok" ? "" : ": see Health"}`);
  byId("health").replaceChildren(
    ...COMPONENTS.flatMap(([key, name]) => {
      const value = body[key];
      const text = value === undefined ? "not configured" : (STATES[value] ?? value);
      return [element("dt", {}, name), element("dd", { class: value ?? "quiet" }, text)];
    }),
  );
}

// A live region is announced at each change, so that an equal text is not set again.
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function showState(state, text) {
  byId("state").className = `badge ${state}`;
  setText(byId("state"), text);
}

// Failed jobs. Rows are kept by id, so that a button keeps its focus.

const rows = new Map();

function jobRow(id) {
  const name = element("p", { class: "name" });
  const state = element("p", { class: "quiet" });
  const button = element("button", { type: "button" }, "Retry");
  const error = element("pre", { tabindex: "0", role: "group" });
  const item = element("li", { "data-job": id }, element("div", { class: "about" }, name, state), button, error);
  button.addEventListener("click", () => retry(id, button));
  return { item, name, state, button, error };
}

function describe(job) {
  const attempts = `attempt ${job.attempts} of ${job.max_attempts}`;
  if (job.state === "dead") return `Dead after ${attempts}`;
  if (job.state === "running") return `Running, ${attempts}`;
  const wait = Math.round((Date.parse(job.next_attempt) - Date.now()) / 1000);
  const when = wait <= 0 ? "now" : wait < 120 ? `in ${wait} s` : `at ${new Date(job.next_attempt).toLocaleString()}`;
  return job.attempts === 0 ? `To be tried again ${when}` : `Failed at ${attempts}, next attempt ${when}`;
}

function showJobs(jobs) {
  const list = byId("jobs");
  for (const [id, row] of rows) {
    if (jobs.some((job) => job.id === id)) continue;
    row.item.remove();
    rows.delete(id);
  }
  jobs.forEach((job, position) => {
    const row = rows.get(job.id) ?? jobRow(job.id);
    rows.set(job.id, row);
    setText(row.name, `${job.task} (job ${job.id})`);
    setText(row.state, describe(job));
    row.state.className = job.state === "dead" ? "dead" : "quiet";
    setText(row.error, job.last_error);
    row.error.setAttribute("aria-label", `Last error of job ${job.id}`);
    row.button.setAttribute("aria-label", `Retry job ${job.id}, ${job.task}`);
    row.button.disabled = job.state === "running" || row.button.dataset.sent === "yes";
    // Moved only where the order has changed: a move ends the focus.
    if (list.children[position] !== row.item) list.insertBefore(row.item, list.children[position] ?? null);
  });
  list.hidden = jobs.length === 0;
  byId("no-jobs").hidden = jobs.length > 0;
  setText(byId("no-jobs"), "No job has failed.");
}

async function retry(id, button) {
  const message = byId("jobs-message");
  button.disabled = true;
  button.dataset.sent = "yes";
  try {
    const response = await fetch(`start/jobs/${id}/retry`, { method: "POST" });
    if (response.status === 204) {
      message.textContent = `Job ${id} is due now.`;
    } else {
      const problem = await response.json();
      message.textContent = `Job ${id} was not retried: ${problem.detail ?? problem.title}`;
    }
  } catch {
    message.textContent = `Job ${id} was not retried: the service does not respond.`;
  }
  delete button.dataset.sent;
  await readStatus().catch(() => {});
}

// Metrics: counters become rates by the reading before.

let before = null;

function increase(now, earlier) {
  const added = (now ?? 0) - (earlier ?? 0);
  return added < 0 ? null : added;
}

// The bound below which 95 of 100 responses of the interval were, interpolated within its bucket.
function percentile(durations, earlier) {
  const buckets = Object.keys(durations)
    .map((bound) => [bound === "+Inf" ? Infinity : Number(bound), increase(durations[bound], earlier[bound])])
    .sort(([a], [b]) => a - b);
  const total = buckets.at(-1)?.[1];
  if (!total || buckets.some(([, count]) => count === null)) return null;
  const rank = 0.95 * total;
  let [lower, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= rank) {
      return bound === Infinity ? lower : lower + ((bound - lower) * (rank - below)) / (count - below);
    }
    [lower, below] = [bound, count];
  }
  return null;
}

function showMetrics(now, { http, pool, queue }) {
  byId("not-recorded").hidden = http !== null;
  const seconds = before && now - before.now;
  const rates = CLASSES.map((key) => {
    const added = before?.http && http ? increase(http.responses[key], before.http.responses[key]) : null;
    return added === null ? null : added / seconds;
  });
  charts.responses.add(now, rates);
  charts.latency.add(now, [before?.http && http ? percentile(http.durations, before.http.durations) : null]);
  charts.pool.add(now, [pool.busy, pool.idle]);
  setText(byId("pool-max"), `, at most ${pool.max}`);
  const counts = queue?.counts;
  charts.queue.add(now, [counts?.waiting, counts?.running, counts?.failed, counts?.dead]);
  before = { now, http };
}

function uptime(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return "less than a minute";
  const hours = Math.floor(minutes / 60);
  return hours < 1 ? `${minutes} min` : `${hours} h ${minutes % 60} min`;
}

async function readStatus() {
  const { status, body } = await getJson("start/status");
  if (status !== 200) throw new Error(body.title);
  setText(byId("build"), `, version ${body.version}, running for ${uptime(body.uptime_seconds)}`);
  for (const key of ["waiting", "scheduled", "running", "failed", "dead"]) {
    setText(byId(`count-${key}`), body.queue ? round(0)(body.queue.counts[key]) : "–");
  }
  if (body.queue) {
    showJobs(body.queue.jobs);
  } else {
    setText(byId("no-jobs"), "The queue cannot be read: PostgreSQL does not respond.");
    byId("no-jobs").hidden = false;
  }
  return body;
}

async function poll() {
  // A tab that nobody sees asks nothing.
  if (document.hidden) {
    before = null;
    document.addEventListener("visibilitychange", poll, { once: true });
    return;
  }
  try {
    const [status, health] = await Promise.all([readStatus(), getJson("health/ready")]);
    showMetrics(performance.now() / 1000, status);
    showHealth(health);
  } catch {
    before = null;
    showState("down", "The service does not respond");
  }
  setTimeout(poll, INTERVAL);
}

// `make run` writes the addresses when all of them are known, a moment after the service responds.
async function findLinks(attempts) {
  try {
    await showLinks();
    if (byId("users").hidden && attempts > 1) setTimeout(findLinks, INTERVAL, attempts - 1);
  } catch {
    byId("links-message").textContent = "The addresses of what runs beside the service could not be read: its log says why.";
  }
}

findLinks(10);
poll();
