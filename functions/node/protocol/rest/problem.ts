import { code, type Fields, isFields, RpcError } from "../rpc.ts";

const titles: Readonly<Record<number, string>> = {
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  508: "Loop Detected",
};

/** A fault of a REST request, which is answered as problem details (RFC 9457). */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly status: number;
  /** Extension members. */
  readonly more: Fields;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, detail: string, more: Fields = {}, headers: Readonly<Record<string, string>> = {}) {
    super(detail);
    this.status = status;
    this.more = more;
    this.headers = headers;
  }

  /** The members of the document. `about:blank` means that the status says all about the type. */
  details(callId: string): Fields {
    const { status, message, more } = this;
    return { type: "about:blank", title: titles[status], status, detail: message, callId, ...more };
  }

  response(callId: string): Response {
    const headers = { ...this.headers, "content-type": "application/problem+json", "cache-control": "no-store" };
    return Response.json(this.details(callId), { status: this.status, headers });
  }
}

/** A JSON-RPC error in HTTP's terms. Our own codes are statuses already. */
export function problemOf({ code: errorCode, message, data }: RpcError): Problem {
  const status = errorCode > 0 && titles[errorCode] ? errorCode : (statuses[errorCode] ?? 500);
  const seconds = isFields(data) ? data["retryAfterSeconds"] : undefined;
  // Unknown and forbidden look alike, here as in MCP.
  const unknown = errorCode === code.invalidParams && message.startsWith("Unknown ");
  return new Problem(
    unknown ? 404 : status,
    message,
    { code: errorCode, ...(data !== undefined && { data }) },
    typeof seconds === "number" ? { "retry-after": String(seconds) } : {},
  );
}

const statuses: Readonly<Record<number, number>> = {
  [code.invalidParams]: 400,
  [code.invalidRequest]: 400,
  [code.missingCapability]: 409,
};
