"use strict";
const token = new URLSearchParams(location.search).get("token");
history.replaceState(null, "", location.pathname); // the token leaves the address bar

const message = document.getElementById("message");
const form = document.querySelector("form");
const button = form.querySelector("button");
const say = (text, done) => {
  message.textContent = text;
  form.hidden = done;
  button.disabled = false;
};

// What is wrong with what was typed, or nothing when it is the link that is wrong.
const fault = async (reply) => {
  const problem = await reply.json();
  const field = problem.errors?.find((error) => error.field !== "token");
  return field && `That password cannot be taken: it ${field.message}.`;
};

if (!token) say("This link is not complete. Copy it from the letter as a whole.", true);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  try {
    const reply = await fetch(form.dataset.endpoint, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token, ...Object.fromEntries(new FormData(form)) }),
    });
    if (reply.ok) return say(form.dataset.done, true);
    const wrong = reply.status === 422 ? await fault(reply) : "That did not work just now. Please try again in a moment.";
    say(wrong ?? form.dataset.used, !wrong);
  } catch {
    say("The service cannot be reached. Please try again in a moment.", false);
  }
});
