"use strict";
// The token is in the fragment, which is not sent with the request for this page. Links of earlier
// releases have it in the query.
const read = (text) => new URLSearchParams(text.slice(1)).get("token");
const token = read(location.hash) ?? read(location.search);
history.replaceState(null, "", location.pathname); // removes the token from the address bar
// Another link to this page, opened over it, differs in the fragment alone, and loads nothing by itself.
addEventListener("hashchange", () => location.reload());

const message = document.getElementById("message");
const form = document.querySelector("form");
const button = form.querySelector("button");
const ask = document.getElementById("ask");
const say = (text, done) => {
  message.textContent = text;
  form.hidden = done;
  button.disabled = false;
};

// The page of an invitation stores its token while its visitor signs up. A browser can deny access to the storage.
const hasInvitation = () => {
  try {
    return localStorage.getItem("invitation") !== null;
  } catch {
    return false;
  }
};

// Adds the field that is only needed where several sign-ups wait for one address.
const askForPassword = () => {
  ask.replaceWith(ask.content);
  form.querySelector("input").focus();
};

// The fault of a field, as a sentence; nothing when the link is at fault.
const fault = async (reply) => {
  const problem = await reply.json();
  const field = problem.errors?.find((error) => error.field !== "token");
  if (field?.code === "password_required" && ask?.isConnected) {
    askForPassword();
    return "Somebody else signed up with this address as well. Enter the password that you chose.";
  }
  if (field?.code === "wrong_password") return "Nobody signed up with that password. Try again, or set a new password.";
  return field && `That password cannot be taken: it ${field.message}.`;
};

if (!token) say("This link is not complete. Copy it from the email as a whole.", true);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  try {
    const reply = await fetch(form.dataset.endpoint, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token, ...Object.fromEntries(new FormData(form)) }),
    });
    if (reply.ok) {
      const back = document.getElementById("return");
      if (back) back.hidden = !hasInvitation();
      return say(form.dataset.done, true);
    }
    if (reply.status === 409 && form.dataset.conflict) return say(form.dataset.conflict, true);
    const wrong = reply.status === 422 ? await fault(reply) : "That did not work just now. Please try again in a moment.";
    say(wrong ?? form.dataset.used, !wrong);
  } catch {
    say("The service cannot be reached. Please try again in a moment.", false);
  }
});
