"use strict";
const element = (id) => document.getElementById(id);
const say = (text) => { element("message").textContent = text; };
const show = (id) => {
  for (const form of document.forms) form.hidden = form.id !== id;
};
const UNREACHABLE = "The service cannot be reached. Please try again in a moment.";
const title = (kind) => kind[0].toUpperCase() + kind.slice(1).replaceAll("_", " ");

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
const fault = ({ status, body }) => (status >= 500 ? UNREACHABLE : body.detail ?? body.title);

// Disables a form while its request is sent.
const onSubmit = (id, work) => element(id).addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    await work(Object.fromEntries(new FormData(event.target)));
  } catch {
    say(UNREACHABLE);
  }
  button.disabled = false;
});

const showKinds = ({ optional }) => {
  const choices = optional.map(({ kind, is_given: isGiven }) => {
    const input = Object.assign(document.createElement("input"), { type: "checkbox", name: kind, checked: isGiven });
    const label = Object.assign(document.createElement("label"), { className: "choice" });
    label.append(input, title(kind));
    return label;
  });
  element("kinds").replaceChildren(...choices);
  show("preferences");
};

const start = async () => {
  const proof = await call("GET", "auth/csrf");
  csrf = proof.ok ? proof.body.csrf_token : null;
  let consents = csrf ? await call("GET", "users/me/consents") : { status: 401 };
  if (csrf && consents.status === 401 && (await call("POST", "auth/refresh")).ok) {
    consents = await call("GET", "users/me/consents");
  }
  if (consents.ok) {
    say("Choose the emails that you get.");
    return showKinds(consents.body);
  }
  if (consents.status !== 401) return say(fault(consents));
  say("Sign in to choose the emails that you get.");
  show("sign-in");
};

let mfaToken = null;
onSubmit("sign-in", async (fields) => {
  const reply = await call("POST", "auth/login", { ...fields, transport: "cookie" });
  if (!reply.ok) return say(fault(reply));
  if (reply.status !== 202) return start();
  mfaToken = reply.body.mfa_token;
  say("Enter your code.");
  show("second-factor");
  element("code").focus();
});
onSubmit("second-factor", async ({ code }) => {
  const kind = /^[0-9 ]{6,7}$/.test(code.trim()) ? "code" : "recovery_code";
  const reply = await call("POST", "auth/login/mfa", { mfa_token: mfaToken, [kind]: code.trim() });
  return reply.ok ? start() : say(fault(reply));
});
onSubmit("preferences", async () => {
  const inputs = [...element("kinds").querySelectorAll("input")];
  const choice = Object.fromEntries(inputs.map((input) => [input.name, input.checked]));
  const reply = await call("PUT", "users/me/consents", choice);
  if (reply.status === 401) return start();
  if (!reply.ok) return say(fault(reply));
  showKinds(reply.body);
  say("Your choice is saved.");
});

start().catch(() => say(UNREACHABLE));
