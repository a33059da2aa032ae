import type { Session } from "./session.js";

/** Authentication by an API key. */
export class ApiKey implements Session {
  constructor(private readonly key: string) {}

  async authorize(request: Request): Promise<void> {
    request.headers.set("Authorization", `Bearer ${this.key}`);
  }

  async renew(): Promise<"ended"> {
    return "ended";
  }
}
