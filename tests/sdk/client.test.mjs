// The client against the running service at SERVICE_URL, whose access tokens expire after four seconds.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  ApiKey,
  BearerSession,
  BrowserSession,
  createClient,
  idempotencyKey,
  isProblem,
  ProblemError,
  unwrap,
} from "../../sdk/typescript/dist/index.js";

const baseUrl = process.env.SERVICE_URL;
const credentials = { email: "ada@example.com", password: "correct horse battery staple" };
// Its sessions are ended by a test, while the others run.
const other = { ...credentials, email: "grace@example.com" };
const expiry = () => sleep(4200);

/** A `fetch` that counts what it sends, by path. */
function counting(inner = (request) => fetch(request)) {
  const sent = [];
  const send = (request) => {
    sent.push(new URL(request.url).pathname);
    return inner(request);
  };
  return { send, count: (end) => sent.filter((path) => path.endsWith(end)).length };
}

/** A client that is signed in, and how often it sent what. */
async function signedIn(options = {}) {
  const body = options.user ?? credentials;
  const ends = [];
  const session = new BearerSession(options.store, () => ends.push("end"));
  const { send, count } = counting(options.inner);
  const client = createClient({ baseUrl, session, fetch: send, account: options.account });
  await session.start(unwrap(await client.POST("/api/v1/auth/login", { body })));
  return { client, count, ends, session };
}

/** Pages of one browser, which share its cookies. `after` runs when the cookies of a reply have been stored. */
function browser(inner = (request) => fetch(request), after = async () => {}) {
  const jar = new Map();
  const ends = [];
  const send = async (request) => {
    if (jar.size) request.headers.set("Cookie", [...jar].map(([name, value]) => `${name}=${value}`).join("; "));
    request.headers.set("Origin", new URL(baseUrl).origin);
    const reply = await inner(request);
    for (const cookie of reply.headers.getSetCookie()) {
      const [name, value] = cookie.split(";")[0].split(/=(.*)/);
      if (/max-age=0/i.test(cookie)) jar.delete(name);
      else jar.set(name, value);
    }
    await after(request);
    return reply;
  };
  const page = () => {
    const session = new BrowserSession(() => ends.push("end"));
    const counted = counting(send);
    const client = createClient({ baseUrl, session, fetch: counted.send });
    const signIn = async () => {
      const body = { ...credentials, transport: "cookie" };
      session.start(unwrap(await client.POST("/api/v1/auth/login", { body })));
    };
    return { client, count: counted.count, signIn };
  };
  return { page, ends };
}

describe("the client", { concurrency: 6 }, () => {
  test("signs in and reads the account", async () => {
    const { client, count } = await signedIn();
    const me = unwrap(await client.GET("/api/v1/users/me"));
    assert.equal(me.email, credentials.email);
    assert.equal(count("/auth/refresh"), 0);
  });

  test("a refresh that ends late changes no session but its own", async () => {
    for (const next of ["none", "another"]) {
      let begun, release;
      const started = new Promise((resolve) => (begun = resolve));
      const released = new Promise((resolve) => (release = resolve));
      const inner = async (request) => {
        const reply = await fetch(request);
        if (request.url.endsWith("/auth/refresh")) {
          begun();
          await released;
        }
        return reply;
      };
      let kept;
      const store = { get: () => kept, set: (tokens) => void (kept = tokens) };
      const { client, ends, session } = await signedIn({ inner, store });
      const login = client.POST("/api/v1/auth/login", { body: credentials });
      const tokens = next === "another" ? unwrap(await login) : void (await login);
      await expiry();
      const call = client.GET("/api/v1/users/me");
      await started;
      await session.start(tokens);
      release();
      await call;
      if (tokens) {
        assert.equal(unwrap(await client.GET("/api/v1/users/me")).email, credentials.email);
      } else {
        assert.equal(kept, undefined);
      }
      assert.deepEqual(ends, []);
    }
  });

  test("a call that is aborted does not wait for its repetition", async () => {
    const busy = () => new Response(null, { status: 503, headers: { "Retry-After": "4" } });
    const client = createClient({ baseUrl, fetch: async () => busy() });
    const began = performance.now();
    const signal = AbortSignal.timeout(200);
    await assert.rejects(client.GET("/api/v1/pricing", { signal }), { name: "TimeoutError" });
    assert.ok(performance.now() - began < 2000);
  });

  test("calls at the same time share one refresh of an expired token", async () => {
    const { client, count } = await signedIn();
    await expiry();
    const replies = await Promise.all([1, 2, 3].map(() => client.GET("/api/v1/users/me")));
    assert.deepEqual(replies.map((it) => it.response.status), [200, 200, 200]);
    assert.equal(count("/auth/refresh"), 1);
    assert.equal(count("/users/me"), 6);
  });

  test("a call that was refused with a token before does not refresh again", async () => {
    let hold;
    const held = new Promise((resolve) => (hold = resolve));
    const isHeld = (request) => request.headers.has("X-Held");
    const inner = async (request) => {
      const reply = await fetch(request);
      if (isHeld(request) && reply.status === 401) await held;
      return reply;
    };
    const { client, count } = await signedIn({ inner });
    await expiry();
    const late = client.GET("/api/v1/users/me", { headers: { "X-Held": "1" } });
    unwrap(await client.GET("/api/v1/users/me"));
    hold();
    assert.equal((await late).response.status, 200);
    assert.equal(count("/auth/refresh"), 1);
  });

  test("a refresh whose reply is lost is repeated, and the session goes on", async () => {
    let lost = 0;
    const inner = async (request) => {
      const reply = await fetch(request);
      if (request.url.endsWith("/auth/refresh") && lost++ === 0) throw new TypeError("connection lost");
      return reply;
    };
    const { client, ends } = await signedIn({ inner });
    await expiry();
    assert.equal((await client.GET("/api/v1/users/me")).response.status, 200);
    assert.equal(lost, 2);
    assert.deepEqual(ends, []);
  });

  test("a refresh that cannot be answered now is the reply of its call, and the session goes on", async () => {
    let isBusy = true;
    const problem = { type: "urn:problem:unavailable", title: "", status: 503, code: "unavailable", request_id: "1" };
    const inner = async (request) => {
      if (!isBusy || !request.url.endsWith("/auth/refresh")) return fetch(request);
      // Long enough for both calls to wait for it.
      await sleep(500);
      return Response.json(problem, { status: 503 });
    };
    const { client, count, ends } = await signedIn({ inner });
    await expiry();
    const refused = await Promise.all([1, 2].map(() => client.GET("/api/v1/users/me")));
    assert.deepEqual(refused.map((it) => it.error.code), ["unavailable", "unavailable"]);
    assert.deepEqual(ends, []);
    assert.equal(count("/auth/refresh"), 1);
    isBusy = false;
    assert.equal((await client.GET("/api/v1/users/me")).response.status, 200);
  });

  test("a session that has ended is reported once, and its call keeps its problem", async () => {
    const { client, count, ends } = await signedIn({ user: other });
    const elsewhere = await signedIn({ user: other });
    assert.equal((await elsewhere.client.POST("/api/v1/auth/logout-all")).response.status, 204);
    const replies = await Promise.all([1, 2].map(() => client.GET("/api/v1/users/me")));
    for (const { error } of replies) assert.equal(error.code, "unauthenticated");
    assert.equal(count("/auth/refresh"), 1);
    assert.deepEqual(ends, ["end"]);
  });

  test("a wrong password is a problem with its code, and refreshes nothing", async () => {
    const { client, count } = await signedIn();
    const { error, data } = await client.POST("/api/v1/auth/login", { body: { ...credentials, password: "another password" } });
    assert.equal(data, undefined);
    assert.ok(isProblem(error));
    assert.equal(error.code, "invalid_credentials");
    assert.equal(error.status, 401);
    assert.equal(count("/auth/refresh"), 0);
  });

  test("unwrap throws the problem with the id of its request", async () => {
    const { client } = await signedIn();
    const refused = await client.PATCH("/api/v1/users/me", { body: { first_name: "" } });
    assert.throws(() => unwrap(refused), (error) => {
      assert.ok(error instanceof ProblemError);
      assert.equal(error.problem.code, "invalid_fields");
      assert.equal(error.problem.errors[0].field, "first_name");
      assert.equal(error.requestId, error.problem.request_id);
      return true;
    });
  });

  test("a reply that is lost is asked for again with the same idempotency key", async () => {
    let lost = 0;
    const inner = async (request) => {
      const reply = await fetch(request);
      if (request.headers.has("Idempotency-Key") && lost++ === 0) throw new TypeError("connection lost");
      return reply;
    };
    const { client } = await signedIn({ inner });
    const params = { header: { "Idempotency-Key": idempotencyKey() } };
    const made = await client.POST("/api/v1/organisations", { params, body: { name: "Acme Inc.", slug: "acme" } });
    assert.equal(made.response.status, 201);
    assert.equal(made.response.headers.get("Idempotency-Replayed"), "true");
    const listed = unwrap(await client.GET("/api/v1/organisations"));
    assert.equal(listed.items.filter((it) => it.name === "Acme Inc.").length, 1);
  });

  test("a call with an effect and without a key is sent once", async () => {
    let sent = 0;
    const inner = async (request) => {
      if (request.method !== "PATCH") return fetch(request);
      sent += 1;
      throw new TypeError("connection lost");
    };
    const { client } = await signedIn({ inner });
    await assert.rejects(client.PATCH("/api/v1/users/me", { body: { first_name: "Ada" } }), TypeError);
    assert.equal(sent, 1);
  });

  test("an aborted call is not repeated", async () => {
    const controller = new AbortController();
    let sent = 0;
    const inner = (request) => {
      if (request.method !== "GET") return fetch(request);
      sent += 1;
      // A reason that looks like a failed connection.
      controller.abort(new TypeError("stopped"));
      throw controller.signal.reason;
    };
    const { client } = await signedIn({ inner });
    await assert.rejects(client.GET("/api/v1/users/me", { signal: controller.signal }), { message: "stopped" });
    assert.equal(sent, 1);
  });

  test("a refusal by a service that is busy is repeated after its Retry-After", async () => {
    let refused = 0;
    const inner = async (request) => {
      if (request.method === "GET" && refused++ === 0) return new Response("{}", { status: 503, headers: { "Retry-After": "0" } });
      return fetch(request);
    };
    const { client } = await signedIn({ inner });
    assert.equal((await client.GET("/api/v1/users/me")).response.status, 200);
    assert.equal(refused, 2);
  });

  test("the account is that of the option", async () => {
    const { client } = await signedIn({ account: "no-such-account" });
    assert.equal((await client.GET("/api/v1/usage/current")).error.code, "not_found");
    const slug = "babbage";
    const params = { header: { "Idempotency-Key": idempotencyKey() } };
    const personal = await signedIn();
    unwrap(await personal.client.POST("/api/v1/organisations", { params, body: { name: "Babbage", slug } }));
    const shared = await client.GET("/api/v1/usage/current", { headers: { "X-Account": slug } });
    assert.equal(shared.response.status, 200);
  });

  test("an API key authenticates, and a wrong one is refused without a refresh", async () => {
    const { client } = await signedIn();
    const body = { name: "Test", scopes: ["read"], password: credentials.password };
    const params = { header: { "Idempotency-Key": idempotencyKey() } };
    const { key } = unwrap(await client.POST("/api/v1/api-keys", { params, body }));
    const program = createClient({ baseUrl, session: new ApiKey(key) });
    assert.equal((await program.GET("/api/v1/usage/current")).response.status, 200);
    const { send, count } = counting();
    const wrong = createClient({ baseUrl, session: new ApiKey(`${key.slice(0, -4)}AAAA`), fetch: send });
    assert.equal((await wrong.GET("/api/v1/usage/current")).error.code, "unauthenticated");
    assert.equal(count("/auth/refresh"), 0);
  });

  test("a page uses cookies, refreshes once, and finds its CSRF token after a reload", async () => {
    const { page, ends } = browser();
    const first = page();
    await first.signIn();
    unwrap(await first.client.PATCH("/api/v1/users/me", { body: { first_name: "Ada" } }));
    await expiry();
    const body = { last_name: "Lovelace" };
    const replies = await Promise.all([1, 2].map(() => first.client.PATCH("/api/v1/users/me", { body })));
    assert.deepEqual(replies.map((it) => it.response.status), [200, 200]);
    assert.equal(first.count("/auth/refresh"), 1);

    const reloaded = page();
    const changed = unwrap(await reloaded.client.PATCH("/api/v1/users/me", { body: { first_name: "Augusta" } }));
    assert.equal(changed.first_name, "Augusta");
    assert.deepEqual([reloaded.count("/auth/csrf"), reloaded.count("/auth/refresh")], [1, 0]);
    await expiry();
    const later = page();
    assert.equal(unwrap(await later.client.GET("/api/v1/users/me")).first_name, "Augusta");
    assert.deepEqual([later.count("/auth/csrf"), later.count("/auth/refresh")], [1, 1]);
    assert.equal((await reloaded.client.POST("/api/v1/auth/logout")).response.status, 204);

    const signedOut = page();
    assert.equal((await signedOut.client.GET("/api/v1/users/me")).error.code, "unauthenticated");
    assert.deepEqual(ends, ["end"]);
  });

  test("a page's call whose refusal arrives after a refresh, and deletes its cookies, refreshes again", async () => {
    let hold;
    const held = new Promise((resolve) => (hold = resolve));
    const { page } = browser(async (request) => {
      const reply = await fetch(request);
      if (request.headers.has("X-Held") && reply.status === 401) await held;
      return reply;
    });
    const { client, count, signIn } = page();
    await signIn();
    await expiry();
    const late = client.GET("/api/v1/users/me", { headers: { "X-Held": "1" } });
    unwrap(await client.GET("/api/v1/users/me"));
    hold();
    assert.equal((await late).response.status, 200);
    assert.equal(count("/auth/refresh"), 2);
  });

  test("a page's calls whose new cookies are deleted before they are sent again refresh once more", async () => {
    let release;
    const refreshed = new Promise((resolve) => (release = resolve));
    const inner = async (request) => {
      const reply = await fetch(request);
      if (request.headers.has("X-Held") && reply.status === 401) await refreshed;
      return reply;
    };
    const { page } = browser(inner, async (request) => {
      if (!request.url.endsWith("/auth/refresh")) return;
      // The held 401 deletes the cookies while the refresh still runs.
      release();
      await sleep(200);
    });
    const { client, signIn } = page();
    await signIn();
    await expiry();
    const options = [{ headers: { "X-Held": "1" } }, {}];
    const replies = await Promise.all(options.map((it) => client.GET("/api/v1/users/me", it)));
    assert.deepEqual(replies.map((it) => it.response.status), [200, 200]);
  });
});
