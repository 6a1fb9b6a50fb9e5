import { noRoute } from "./envelope.ts";

/** A request of the control plane with what its path told. */
export interface Call {
  readonly request: Request;
  readonly query: URLSearchParams;
  /** Id of the account; empty for a path without one. */
  readonly account: string;
  /** The parts of the path that the route names. */
  readonly path: Readonly<Record<string, string>>;
}

/** `PUT /accounts/{account}/workers/scripts/{script}` */
export type Route = readonly [
  pattern: string,
  answer: (call: Call & { readonly path: any }) => Promise<Response> | Response,
];

/** Finds the route of a request below `/client/v4`; throws Cloudflare's error when there is none. */
export function router(routes: readonly Route[]): (request: Request, path: string) => Promise<Response> {
  const compiled = routes.map(([pattern, answer]) => {
    const [method, path] = pattern.split(" ") as [string, string];
    return { method, expression: new RegExp(`^${path.replace(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`), answer };
  });
  return async (request, path) => {
    for (const { method, expression, answer } of compiled) {
      if (method !== request.method) continue;
      const groups = expression.exec(path)?.groups;
      if (!groups && !expression.test(path)) continue;
      const parts = Object.fromEntries(
        Object.entries(groups ?? {}).map(([name, value]) => [name, decodeURIComponent(value)]),
      );
      const { account = "", ...rest } = parts;
      return answer({ request, query: new URL(request.url).searchParams, account, path: rest });
    }
    throw noRoute(path);
  };
}
