import { setTimeout as sleep } from "node:timers/promises";
import { ResourceError } from "../plugin/resource.ts";
import type { App, IpAssignment, Machine, MachineConfig, Secret, Volume } from "./api-types.ts";

/** Fly's own endpoint of the Machines API. */
export const flyApi = "https://api.machines.dev/v1";

/** A refusal of the Machines API, in its own words. */
export class FlyApiError extends ResourceError {
  readonly status: number;
  /** Fly's machine-readable reason, such as `name_taken`; empty where it gave none. */
  readonly code: string;
  constructor(request: string, status: number, code: string, message: string) {
    super(`${request} answered ${status}${code && ` ${code}`}: ${message}`);
    this.status = status;
    this.code = code;
  }
}

/** A change was sent and nobody knows whether it was made: the answer was lost. Sending it again could make it twice. */
export class UncertainError extends ResourceError {
  constructor(request: string, cause: string) {
    super(
      `The outcome of ${request} is uncertain (${cause}). Run the update again: it looks at what is there before it changes anything.`,
    );
  }
}

interface Call {
  readonly body?: unknown;
  readonly nonce?: string | undefined;
  /** Safe to send again after a lost answer. GET and DELETE always are. */
  readonly repeatable?: boolean;
}

const requestTimeoutMs = 75_000;
const maxTries = 6;

/** Typed calls to the Machines API. Backs off on 429; the token is the variable `FLY_API_TOKEN` and nothing else. */
export class FlyApi {
  readonly #base: string;
  readonly #signal: AbortSignal;

  /** `base` has no trailing slash; `signal` ends waits and requests. */
  constructor(base: string, signal: AbortSignal) {
    this.#base = base;
    this.#signal = signal;
  }

  app = (app: string) => this.#maybe<App>("GET", `/apps/${app}`);
  createApp = (name: string, organization: string) =>
    this.#call<unknown>("POST", "/apps", { body: { name, org_slug: organization } });
  deleteApp = (app: string) => this.#gone(`/apps/${app}`);

  addresses = async (app: string) =>
    (await this.#call<{ ips?: IpAssignment[] }>("GET", `/apps/${app}/ip_assignments`)).ips ?? [];
  assignAddress = (app: string, type: string) =>
    this.#call<IpAssignment>("POST", `/apps/${app}/ip_assignments`, { body: { type } });

  secrets = async (app: string) => (await this.#maybe<{ secrets?: Secret[] }>("GET", `/apps/${app}/secrets`))?.secrets;
  /** Sets the values, removes those that are null, and leaves other secrets alone. */
  setSecrets = (app: string, values: Readonly<Record<string, string | null>>) =>
    this.#call<{ version: number }>("POST", `/apps/${app}/secrets`, { body: { values }, repeatable: true });

  volume = (app: string, id: string) => this.#maybe<Volume>("GET", `/apps/${app}/volumes/${id}`);
  volumes = (app: string) => this.#call<Volume[]>("GET", `/apps/${app}/volumes`);
  createVolume = (app: string, body: { name: string; region: string; size_gb: number }) =>
    this.#call<Volume>("POST", `/apps/${app}/volumes`, { body });
  extendVolume = (app: string, id: string, sizeGb: number) =>
    this.#call<unknown>("PUT", `/apps/${app}/volumes/${id}/extend`, { body: { size_gb: sizeGb }, repeatable: true });
  deleteVolume = (app: string, id: string) => this.#gone(`/apps/${app}/volumes/${id}`);

  machine = (app: string, id: string) => this.#maybe<Machine>("GET", `/apps/${app}/machines/${id}`);
  machines = (app: string) => this.#call<Machine[]>("GET", `/apps/${app}/machines`);
  createMachine = (
    app: string,
    body: { name: string; region: string; config: MachineConfig; min_secrets_version: number },
  ) => this.#call<Machine>("POST", `/apps/${app}/machines`, { body });
  updateMachine = (
    app: string,
    id: string,
    nonce: string,
    body: { region: string; config: MachineConfig; min_secrets_version: number; current_version: string },
  ) => this.#call<Machine>("POST", `/apps/${app}/machines/${id}`, { body, nonce });
  startMachine = (app: string, id: string, nonce: string) =>
    this.#call<unknown>("POST", `/apps/${app}/machines/${id}/start`, { nonce, repeatable: true });
  deleteMachine = (app: string, id: string) => this.#gone(`/apps/${app}/machines/${id}?force=true`);

  /** Answers the nonce that the machine's changes must carry until the lease is released or `ttl` seconds are over. */
  async lease(app: string, id: string, ttl: number): Promise<string> {
    const body = { ttl, description: "federation deploy" };
    // The document shows a flat lease, the wire wraps it.
    const answer = await this.#call<{ nonce?: string; data?: { nonce: string } }>(
      "POST",
      `/apps/${app}/machines/${id}/lease`,
      { body },
    );
    const nonce = answer.data?.nonce ?? answer.nonce;
    if (nonce === undefined) throw new Error(`the lease of machine ${id} of app ${app} came without a nonce`);
    return nonce;
  }
  release = (app: string, id: string, nonce: string) =>
    this.#maybe<unknown>("DELETE", `/apps/${app}/machines/${id}/lease`, { nonce });

  /** True once this version of the machine reached the state; false when it has not after `seconds` (at most 60). */
  async wait(app: string, id: string, version: string, state: string, seconds: number): Promise<boolean> {
    const query = new URLSearchParams({ state, version, instance_id: version, timeout: String(seconds) });
    try {
      await this.#call("GET", `/apps/${app}/machines/${id}/wait?${query}`);
      return true;
    } catch (error) {
      if (error instanceof FlyApiError && error.status === 408) return false;
      throw error;
    }
  }

  async #maybe<T>(method: string, path: string, call?: Call): Promise<T | undefined> {
    try {
      return await this.#call<T>(method, path, call);
    } catch (error) {
      if (error instanceof FlyApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  async #gone(path: string): Promise<void> {
    await this.#maybe("DELETE", path);
  }

  async #call<T>(method: string, path: string, call: Call = {}): Promise<T> {
    const request = `${method} ${path.replace(/\?.*/, "")}`;
    const repeatable = call.repeatable ?? method !== "POST";
    const token = tokenOf();
    for (let tries = 1; ; tries += 1) {
      const last = tries === maxTries;
      let response: Response;
      let text: string;
      try {
        response = await fetch(this.#base + path, this.#init(method, call, token));
        text = await response.text();
      } catch (error) {
        this.#signal.throwIfAborted();
        if (notSent(error))
          throw new ResourceError(
            `No connection to ${this.#base}: ${reason(error)}. Is this the right \`api\`, and is it up?`,
          );
        if (!repeatable || last) throw new UncertainError(request, reason(error));
        await this.#pause(tries);
        continue;
      }
      if (response.ok) return (text === "" ? undefined : JSON.parse(text)) as T;
      if (response.status === 429 && !last) {
        await this.#pause(tries, Number(response.headers.get("retry-after")) * 1000);
      } else if (response.status >= 500 && repeatable && !last) {
        await this.#pause(tries);
      } else if (response.status >= 500 && !repeatable) {
        throw new UncertainError(request, `the API answered ${response.status}`);
      } else {
        throw failure(request, response.status, text);
      }
    }
  }

  #init(method: string, call: Call, token: string): RequestInit {
    const headers: Record<string, string> = { authorization: `Bearer ${token}` };
    if (call.body !== undefined) headers["content-type"] = "application/json";
    if (call.nonce !== undefined) headers["fly-machine-lease-nonce"] = call.nonce;
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(requestTimeoutMs)]);
    return { method, headers, signal, ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }) };
  }

  /** Fly allows one request a second for an action on a machine. */
  async #pause(tries: number, atLeastMs = 0): Promise<void> {
    await sleep(Math.max(atLeastMs, 1000 * 2 ** (tries - 1)), undefined, { signal: this.#signal });
  }
}

/** Read at each call and kept nowhere. */
function tokenOf(): string {
  const token = process.env["FLY_API_TOKEN"];
  if (token) return token;
  throw new ResourceError(
    "The variable FLY_API_TOKEN is not set. Set it to a token of the organization: `fly tokens create org`.",
  );
}

function failure(request: string, status: number, text: string): Error {
  if (status === 401 || status === 403) {
    return new ResourceError(
      `Fly refused the token in FLY_API_TOKEN for ${request} (${status}). Is it valid, and for this organization?`,
    );
  }
  let answer: { error?: string; status?: string } = {};
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch {
    answer = { error: text.slice(0, 500) };
  }
  return new FlyApiError(request, status, answer.status ?? "", answer.error ?? "no reason given");
}

function reason(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? message;
}

function notSent(error: unknown): boolean {
  return ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"].includes(reason(error));
}
