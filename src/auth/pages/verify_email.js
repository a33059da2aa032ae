"use strict";
const token = new URLSearchParams(location.search).get("token");
history.replaceState(null, "", location.pathname); // the token leaves the address bar

const message = document.getElementById("message");
const button = document.getElementById("confirm");
const say = (text, done) => {
  message.textContent = text;
  button.hidden = done;
  button.disabled = false;
};

if (!token) say("This link is not complete. Copy it from the letter as a whole.", true);

button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    const reply = await fetch("/api/v1/auth/verify-email", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token }),
    });
    if (reply.ok) say("Thank you, your address is confirmed. You can sign in now.", true);
    else if (reply.status === 422) say("This link was used before, or it has expired. Try to sign in, or ask for a new letter.", true);
    else say("That did not work just now. Please try again in a moment.", false);
  } catch {
    say("The service cannot be reached. Please try again in a moment.", false);
  }
});
