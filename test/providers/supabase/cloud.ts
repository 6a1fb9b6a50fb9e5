import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StartEmulator } from "../../../providers/local-cloud/emulator.ts";
import { type Cloud, startCloud } from "../../../providers/local-cloud/cloud.ts";
import startSupabase from "../../../providers/supabase/emulator.ts";

export const projectRef = "abcdefghijklmnopqrst";

/** A local cloud with nothing but Supabase in it, on a free port and in a folder of its own. */
export class SupabaseCloud {
  readonly dir = mkdtempSync(join(tmpdir(), "supabase-"));
  readonly lines: string[] = [];
  /** Requests that the control plane got, such as `GET /v1/projects`. */
  readonly calls: string[] = [];
  /** `http://127.0.0.1:<port>/supabase` */
  url = "";
  token = "";
  #cloud: Cloud | undefined;

  async start(): Promise<this> {
    const supabase: StartEmulator = async (host) => {
      this.token = host.token;
      this.url = host.url;
      const emulator = await startSupabase(host);
      return {
        ...emulator,
        handle: (request) => {
          const { pathname } = new URL(request.url);
          if (pathname.startsWith("/v1/")) this.calls.push(`${request.method} ${pathname}`);
          return emulator.handle(request);
        },
      };
    };
    this.#cloud = await startCloud({
      dir: this.dir,
      port: 0,
      emulators: { supabase },
      log: (line) => this.lines.push(line),
    });
    await this.#cloud.ready;
    return this;
  }

  /** Ends every runtime and gives the databases back, as the end of the process does. */
  async stop(): Promise<void> {
    await this.#cloud?.close();
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  get projectUrl(): string {
    return `${this.url}/projects/${projectRef}`;
  }

  functionUrl(slug: string): string {
    return `${this.projectUrl}/functions/v1/${slug}`;
  }

  /** A request to the Management API; `path` starts after the project. */
  manage(method: string, path: string, body?: FormData | object): Promise<Response> {
    const headers: Record<string, string> = { authorization: `Bearer ${this.token}` };
    if (body && !(body instanceof FormData)) headers["content-type"] = "application/json";
    const sent = body instanceof FormData ? body : body && JSON.stringify(body);
    return fetch(`${this.url}/v1/projects/${projectRef}${path}`, { method, headers, body: sent ?? null });
  }

  async query(sql: string): Promise<any> {
    const response = await this.manage("POST", "/database/query", { query: sql });
    if (response.status !== 201) throw new Error(await response.text());
    return response.json();
  }

  /** A function of one module. */
  deploy(slug: string, code: string, options: { query?: string; verifyJwt?: boolean } = {}): Promise<Response> {
    const form = new FormData();
    form.set(
      "metadata",
      JSON.stringify({ entrypoint_path: "index.js", verify_jwt: options.verifyJwt ?? false, name: slug }),
    );
    form.append("file", new File([code], "index.js"));
    return this.manage("POST", `/functions/deploy?slug=${slug}${options.query ?? ""}`, form);
  }

  /** A key of the project by its type and name. */
  async key(type: string, name: string): Promise<string> {
    const keys = (await (await this.manage("GET", "/api-keys?reveal=true")).json()) as {
      type: string;
      name: string;
      api_key: string;
    }[];
    return keys.find((key) => key.type === type && key.name === name)!.api_key;
  }
}
