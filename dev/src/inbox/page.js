// Looks for new emails and shows times in the reader's zone.
"use strict";

function localTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    time.textContent = new Date(time.dateTime).toLocaleString();
  }
}

async function refresh(list) {
  try {
    const answer = await fetch(`/list?version=${list.dataset.version}`);
    if (answer.status === 200) {
      list.innerHTML = await answer.text();
      list.dataset.version = answer.headers.get("x-version");
      localTimes(list);
    }
  } catch {
    // The inbox is closed or being started again: the next look will tell.
  }
}

localTimes(document);
const list = document.getElementById("list");
if (list) {
  setInterval(() => refresh(list), 1000);
}
