"use strict";
// The token is in the fragment, which is not sent with the request for this page. It is stored until it is used,
// because signing up leads over another page, in another tab.
const STORED = "invitation";
const fromLink = new URLSearchParams(location.hash.slice(1)).get("token");
history.replaceState(null, "", location.pathname); // removes the token from the address bar
addEventListener("hashchange", () => location.reload());
if (fromLink) localStorage.setItem(STORED, fromLink);
const token = localStorage.getItem(STORED);

const element = (id) => document.getElementById(id);
const say = (text) => { element("message").textContent = text; };
const show = (...ids) => {
  for (const id of ["accept", "forms", "sign-out", "decline"]) element(id).hidden = !ids.includes(id);
};
const end = (text) => {
  localStorage.removeItem(STORED);
  show();
  say(text);
};
const INVALID = "This invitation was used before or withdrawn, or it has expired. Ask for another one.";
const UNREACHABLE = "The service cannot be reached. Please try again in a moment.";

let csrf = null;
const call = async (method, path, body) => {
  const headers = {};
  if (body) headers["content-type"] = "application/json";
  if (csrf) headers["x-csrf-token"] = csrf;
  const reply = await fetch(`api/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await reply.text();
  return { ok: reply.ok, status: reply.status, body: text ? JSON.parse(text) : {} };
};

// What was refused, as a sentence.
const fault = ({ status, body }) => {
  const field = body.errors?.[0];
  if (field) return `The ${field.field.replaceAll("_", " ")} cannot be taken: it ${field.message}.`;
  return status >= 500 ? UNREACHABLE : body.title;
};

// Disables a button or a form while its request is sent.
const during = (trigger, work) => async (event) => {
  event.preventDefault();
  const button = trigger.querySelector("button") ?? trigger;
  button.disabled = true;
  try {
    await work();
  } catch {
    say(UNREACHABLE);
  }
  button.disabled = false;
};
const onClick = (id, work) => element(id).addEventListener("click", during(element(id), work));
const onSubmit = (form, work) => form.addEventListener("submit", during(form, () => {
  const fields = [...new FormData(form)].filter(([, value]) => value !== "");
  return work(Object.fromEntries(fields));
}));

// Address of the user who is signed in by cookie, if there is one.
const findUser = async () => {
  const proof = await call("GET", "auth/csrf");
  if (!proof.ok) return null;
  csrf = proof.body.csrf_token;
  let me = await call("GET", "users/me");
  if (me.status === 401 && (await call("POST", "auth/refresh")).ok) me = await call("GET", "users/me");
  return me.ok ? me.body.email : null;
};

let invited = null;
const showForUser = async () => {
  const user = await findUser();
  if (user === invited.email) {
    say(`You are signed in as ${user}.`);
    show("accept", "decline");
  } else if (user) {
    say(`You are signed in as ${user}. Sign out first to accept.`);
    show("sign-out", "decline");
  } else {
    say("Sign in or sign up to accept.");
    show("forms", "decline");
  }
};

const start = async () => {
  if (!token) return end("This link is not complete. Copy it from the email as a whole.");
  const preview = await call("POST", "invitations/preview", { token });
  if (preview.status === 422) return end(INVALID);
  if (!preview.ok) return say(fault(preview));
  invited = preview.body;
  element("title").textContent = `Join ${invited.organisation}`;
  const by = invited.inviter ? `${invited.inviter} invites` : "You are invited:";
  const until = new Date(invited.expires_at).toLocaleDateString(undefined, { dateStyle: "long" });
  element("about").textContent = `${by} ${invited.email} as ${invited.role.replace("_", "-")}, until ${until}.`;
  for (const id of ["email", "new-email"]) element(id).value = invited.email;
  await showForUser();
};

const signIn = element("sign-in");
const secondFactor = element("second-factor");
let mfaToken = null;
onSubmit(signIn, async (fields) => {
  const reply = await call("POST", "auth/login", { ...fields, transport: "cookie" });
  if (!reply.ok) return say(fault(reply));
  if (reply.status !== 202) return showForUser();
  mfaToken = reply.body.mfa_token;
  signIn.hidden = element("sign-up").hidden = true;
  secondFactor.hidden = false;
  say("Enter your code.");
  element("code").focus();
});
onSubmit(secondFactor, async ({ code }) => {
  const kind = /^[0-9 ]{6,7}$/.test(code.trim()) ? "code" : "recovery_code";
  const reply = await call("POST", "auth/login/mfa", { mfa_token: mfaToken, [kind]: code.trim() });
  return reply.ok ? showForUser() : say(fault(reply));
});
onSubmit(element("sign-up").querySelector("form"), async (fields) => {
  const reply = await call("POST", "auth/register", fields);
  if (!reply.ok) return say(fault(reply));
  element("sign-up").open = false;
  say(`We sent an email to ${invited.email}. Follow its link in this browser, and you come back to this invitation.`);
});
onClick("sign-out", async () => {
  await call("POST", "auth/logout");
  csrf = null;
  await showForUser();
});
onClick("accept", async () => {
  const reply = await call("POST", "invitations/accept", { token });
  if (reply.status === 401) return showForUser();
  if (reply.status === 422) return end(INVALID);
  if (!reply.ok) return say(fault(reply));
  const { organisation, account_id: account } = reply.body;
  end(`You are a member of ${organisation}. Requests for it have the header X-Account: ${account}`);
});
onClick("decline", async () => {
  const reply = await call("POST", "invitations/decline", { token });
  if (!reply.ok && reply.status !== 422) return say(fault(reply));
  end(reply.ok ? `You declined. ${invited.organisation} cannot send you further invitations.` : INVALID);
});

start().catch(() => say(UNREACHABLE));
