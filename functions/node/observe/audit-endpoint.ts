import type { NodeConfig } from "../platform.ts";
import type { Principal } from "../security/principal.ts";
import { Unauthorized } from "../security/unauthorized.ts";
import type { Audit } from "./audit.ts";

const defaultLimit = 100;
const maxLimit = 1000;

/** Answers `GET /audit?after=&limit=` to users of the node's own organization. Throws `Unauthorized` for others. */
export async function readAudit(
  request: Request,
  { node }: NodeConfig,
  principal: Principal,
  audit: Audit,
): Promise<Response> {
  const organization = node.slice(0, node.indexOf("/"));
  if (principal.hop || principal.organization !== organization) {
    throw new Unauthorized(403, "insufficient_scope", `the audit of ${node} is for users of ${organization}`);
  }
  const query = new URL(request.url).searchParams;
  const limit = Number(query.get("limit") ?? defaultLimit);
  const after = query.get("after") ?? undefined;
  if (!Number.isInteger(limit) || limit < 1 || limit > maxLimit)
    return fault(`limit must be a whole number from 1 to ${maxLimit}`);
  if (after !== undefined && !/^\d{16}$/.test(after)) return fault("after must be the next of the page before");
  return Response.json(await audit.page(after, limit), { headers: { "cache-control": "no-store" } });
}

function fault(error: string): Response {
  return Response.json({ error }, { status: 400 });
}
