/** How requests are authenticated. */
export interface Session {
  /** Adds the credentials to a request that is about to be sent. */
  authorize(request: Request): Promise<void>;
  /**
   * After a refusal: makes the credentials newer than those of `request`, or finds that they are. Concurrent calls share one refresh.
   * Returns "again" if the request can be sent again, "ended" if it cannot, or the reply of a refresh that failed otherwise.
   */
  renew(request: Request, refusal: Refusal, send: Send): Promise<Renewal>;
}

/** The codes of problems that a session may be able to repair. */
export type Refusal = "unauthenticated" | "csrf_refused";

/** Outcome of `Session.renew`. */
export type Renewal = "again" | "ended" | Response;

/** Sends a request as it is, to the root of the service. */
export type Send = (path: string, init: RequestInit) => Promise<Response>;

/** Runs one refresh at a time; calls that come meanwhile get the result of the one that runs. */
export class SharedRefresh {
  private running: Promise<Renewal> | undefined;

  async run(refresh: () => Promise<Renewal>): Promise<Renewal> {
    this.running ??= refresh().finally(() => {
      this.running = undefined;
    });
    const renewal = await this.running;
    // Each caller reads a body of its own.
    return renewal instanceof Response ? renewal.clone() : renewal;
  }
}
