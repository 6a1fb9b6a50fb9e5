/** A refusal of the API, shaped as Fly shapes it. */
export class ApiError extends Error {
  readonly status: number;
  /** Fly's reason for programs; its document has one that is about apps. */
  readonly code: "name_taken" | undefined;
  constructor(status: number, message: string, code?: "name_taken") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** A request of the control plane, read. */
export interface Call {
  /** Parts of the path that the route's pattern names. */
  readonly path: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Parsed JSON; undefined where there is none. */
  readonly body: any;
  /** The lease nonce the caller holds. */
  readonly nonce: string | undefined;
  readonly signal: AbortSignal;
}

/** Answers a JSON body with 200, or a whole response. */
export type Handler = (call: Call) => unknown;

/** By `METHOD /path/{part}`. */
export type Routes = Readonly<Record<string, Handler>>;

interface Compiled {
  readonly method: string;
  readonly pattern: RegExp;
  readonly handler: Handler;
}

/** Makes one fetch handler of a route table. */
export function router(routes: Routes): (request: Request, path: string) => Promise<Response> {
  const table = Object.entries(routes).map(([route, handler]): Compiled => {
    const [method = "", path = ""] = route.split(" ");
    return { method, pattern: new RegExp(`^${path.replaceAll(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`), handler };
  });
  return async (request, path) => {
    try {
      for (const { method, pattern, handler } of table) {
        const match = method === request.method ? pattern.exec(path) : null;
        if (!match) continue;
        const answer = await handler(await read(request, match.groups ?? {}));
        return answer instanceof Response ? answer : Response.json(answer);
      }
      throw new ApiError(404, `no route ${request.method} ${path}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return refusal(error);
    }
  };
}

export function refusal(error: ApiError): Response {
  return Response.json({ error: error.message, ...(error.code && { status: error.code }) }, { status: error.status });
}

async function read(request: Request, groups: Record<string, string>): Promise<Call> {
  const text = await request.text();
  let body: unknown;
  try {
    body = text === "" ? undefined : JSON.parse(text);
  } catch {
    throw new ApiError(400, "the request's body is not JSON");
  }
  return {
    path: Object.fromEntries(Object.entries(groups).map(([key, value]) => [key, decodeURIComponent(value)])),
    query: new URL(request.url).searchParams,
    body,
    nonce: request.headers.get("fly-machine-lease-nonce") ?? undefined,
    signal: request.signal,
  };
}
