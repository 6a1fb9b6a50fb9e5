import type { UpstreamConfig } from "../platform.ts";
import { isFields } from "../protocol/rpc.ts";
import { readText } from "./body.ts";
import { PeerFailure } from "./peer-client.ts";
import { upstreamLabel } from "./upstream-label.ts";

/** The headers that prove to an upstream who asks. */
export type Authorize = (signal: AbortSignal) => Promise<Readonly<Record<string, string>>>;

/** Seconds before its end at which a token is replaced. */
const margin = 30;
const fallbackLifetime = 300;
const maxAnswer = 64 * 1024;

/** Throws when the upstream needs a secret that the node was not given. */
export function upstreamAuth(
  { name, auth }: UpstreamConfig,
  secret: string | undefined,
  fetch: (request: Request) => Promise<Response>,
): Authorize {
  if (auth.type === "none") return async () => ({});
  if (secret === undefined)
    throw new Error(
      `the variable FEDERATION_UPSTREAMS has no secret for the upstream ${name}, whose auth is ${auth.type}`,
    );
  if (auth.type === "bearer") return async () => ({ authorization: `Bearer ${secret}` });

  const { tokenUrl, clientId, scope } = auth;
  let token: { readonly text: string; readonly until: number } | undefined;
  return async (signal) => {
    if (!token || Date.now() >= token.until) token = await fetchToken(signal);
    return { authorization: `Bearer ${token.text}` };
  };

  /** OAuth 2.1 client credentials; the client authenticates as RFC 6749, 2.3.1 says first. */
  async function fetchToken(signal: AbortSignal) {
    const credentials = btoa(`${encodeURIComponent(clientId)}:${encodeURIComponent(secret as string)}`);
    const body = new URLSearchParams({ grant_type: "client_credentials", ...(scope !== undefined && { scope }) });
    const headers = { authorization: `Basic ${credentials}`, accept: "application/json" };
    const response = await fetch(new Request(tokenUrl, { method: "POST", headers, body, redirect: "manual", signal }));
    const text = await readText(response, maxAnswer);
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      // The text may hold a token, so it is in no error.
      answer = undefined;
    }
    if (!response.ok || !isFields(answer) || typeof answer["access_token"] !== "string")
      throw new PeerFailure(
        upstreamLabel(name),
        `has a token endpoint that answered HTTP ${response.status} and no token`,
        {
          sample: "answer",
        },
      );
    const lifetime = typeof answer["expires_in"] === "number" ? answer["expires_in"] : fallbackLifetime;
    return { text: answer["access_token"], until: Date.now() + (lifetime - margin) * 1000 };
  }
}
