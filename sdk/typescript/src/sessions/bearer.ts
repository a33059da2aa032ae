import type { components } from "../schema.js";
import { type Refusal, type Renewal, type Send, type Session, SharedRefresh } from "./session.js";

/** The tokens of a session. Whoever has them is signed in: keep them out of the reach of a page's scripts. */
export type Tokens = Pick<components["schemas"]["TokenPair"], "access_token" | "refresh_token">;

/** Place of the tokens, such as a keychain. */
export interface TokenStore {
  get(): Promise<Tokens | undefined> | Tokens | undefined;
  set(tokens: Tokens | undefined): Promise<void> | void;
}

/** Authentication by tokens, for programs. In a browser use `BrowserSession`. */
export class BearerSession implements Session {
  private readonly refresh = new SharedRefresh();

  /**
   * @param store where the tokens are kept; by default in this object
   * @param onEnd called when the session has ended and its tokens were removed
   */
  constructor(
    private readonly store: TokenStore = memory(),
    private readonly onEnd: () => void = () => {},
  ) {}

  /** Starts with the tokens of a sign-in; without any, ends. */
  async start(tokens: Tokens | undefined): Promise<void> {
    await this.store.set(tokens);
  }

  async authorize(request: Request): Promise<void> {
    const tokens = await this.store.get();
    if (tokens) request.headers.set("Authorization", `Bearer ${tokens.access_token}`);
  }

  async renew(request: Request, refusal: Refusal, send: Send): Promise<Renewal> {
    if (refusal !== "unauthenticated") return "ended";
    const used = request.headers.get("Authorization");
    const tokens = await this.store.get();
    if (!used || !tokens) return "ended";
    // Another call has refreshed since this one was sent.
    if (used !== `Bearer ${tokens.access_token}`) return "again";
    return this.refresh.run(() => this.exchange(tokens.refresh_token, send));
  }

  private async exchange(token: string, send: Send): Promise<Renewal> {
    const headers = { "Content-Type": "application/json" };
    const reply = await send("/api/v1/auth/refresh", { method: "POST", headers, body: JSON.stringify({ refresh_token: token }) });
    if (!reply.ok && reply.status !== 401) return reply;
    const renewed = reply.ok ? ((await reply.json()) as Tokens) : undefined;
    // Meanwhile the session was ended, or another one has begun: this reply is not about it.
    const now = await this.store.get();
    if (now?.refresh_token !== token) return now ? "again" : "ended";
    if (renewed) {
      await this.store.set(renewed);
      return "again";
    }
    await this.store.set(undefined);
    this.onEnd();
    return "ended";
  }
}

function memory(): TokenStore {
  let kept: Tokens | undefined;
  return { get: () => kept, set: (tokens) => void (kept = tokens) };
}
