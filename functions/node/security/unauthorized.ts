/** A request whose token does not open the door. The message says what is wrong with the token and never quotes it. */
export class Unauthorized extends Error {
  override readonly name = "Unauthorized";
  readonly status: 401 | 403;
  /** OAuth error code (RFC 6750); absent when there was no token at all. */
  readonly error: "invalid_token" | "insufficient_scope" | undefined;

  constructor(status: 401 | 403, error: Unauthorized["error"], message: string) {
    super(message);
    this.status = status;
    this.error = error;
  }
}

export function invalidToken(message: string): Unauthorized {
  return new Unauthorized(401, "invalid_token", message);
}

/** The answer to a refused request, with the challenge of RFC 6750 and the pointer of RFC 9728. */
export function challenge({ status, error, message }: Unauthorized, nodeUrl: string): Response {
  const parts = [`resource_metadata="${nodeUrl}/.well-known/oauth-protected-resource"`];
  if (error)
    parts.push(`error="${error}"`, `error_description="${message.replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, "'")}"`);
  return Response.json(
    { error: error ?? "unauthorized", error_description: message },
    { status, headers: { "www-authenticate": `Bearer ${parts.join(", ")}`, "cache-control": "no-store" } },
  );
}
