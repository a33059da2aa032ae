// Calls that must compile, and calls that must not: an unused `@ts-expect-error` is an error.
import { type Client, unwrap } from "../../sdk/typescript/dist/index.js";

export async function typed(client: Client): Promise<string> {
  const signIn = await client.POST("/api/v1/auth/login", { body: { email: "ada@example.com", password: "a password" } });
  if (signIn.error) {
    switch (signIn.error.code) {
      case "invalid_credentials":
        return `${signIn.error.status satisfies 401} ${signIn.error.request_id}`;
      case "invalid_fields":
        return signIn.error.errors?.map((field) => field.field).join() ?? "";
      // @ts-expect-error: no problem of this operation
      case "slug_taken":
        return "";
    }
  } else if ("mfa_token" in signIn.data) {
    return signIn.data.methods.join();
  }

  // @ts-expect-error: a field is missing
  await client.POST("/api/v1/auth/login", { body: { email: "ada@example.com" } });
  // @ts-expect-error: a name is text
  await client.PATCH("/api/v1/users/me", { body: { last_name: 1 } });
  // @ts-expect-error: no such path
  await client.GET("/api/v1/users/myself");
  // @ts-expect-error: the path has an id
  await client.GET("/api/v1/organisations/{id}");
  // @ts-expect-error: a payment requires an idempotency key
  await client.POST("/api/v1/payments", { body: { amount: 100, currency: "USD", description: "A book" } });

  const me = unwrap(await client.GET("/api/v1/users/me"));
  // @ts-expect-error: no such field of a user
  me.surname;
  return me.email;
}
