/** A fault of a request, answered the way Cloudflare's API answers it. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  /** Cloudflare's own number of the fault; https://developers.cloudflare.com/workers/observability/errors/ lists some. */
  readonly code: number;

  constructor(status: number, code: number, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The envelope of a success. `page` describes the one page that a list is answered in. */
export function success(result: unknown, page?: { readonly count: number }): Response {
  const info = page && {
    result_info: {
      page: 1,
      per_page: Math.max(page.count, 1),
      count: page.count,
      total_count: page.count,
      total_pages: 1,
    },
  };
  return Response.json({ success: true, errors: [], messages: [], result, ...info });
}

export function failure(error: ApiError): Response {
  return Response.json(
    { success: false, errors: [{ code: error.code, message: error.message }], messages: [], result: null },
    { status: error.status },
  );
}

export function noRoute(path: string): ApiError {
  return new ApiError(404, 7003, `Could not route to ${path}, perhaps your object identifier is invalid?`);
}

export function noScript(): ApiError {
  return new ApiError(404, 10007, "This Worker does not exist on your account.");
}

/** An upload that cannot run. */
export function invalid(message: string): ApiError {
  return new ApiError(400, 10021, message);
}
