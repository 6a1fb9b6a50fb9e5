import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ResourceError } from "../../../providers/plugin/resource.ts";
import { managementApi } from "../../../providers/supabase/api.ts";
import { projectRef } from "./cloud.ts";

/** What the control plane answers, in turn; the last one again and again. */
type Answer =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  | "hang up";

let server: Server;
let answers: Answer[];
let asked: IncomingMessage[];

beforeEach(async () => {
  asked = [];
  server = createServer((request, response) => {
    asked.push(request);
    const answer = answers[Math.min(asked.length, answers.length) - 1]!;
    if (answer === "hang up") return void request.socket.destroy();
    response.writeHead(answer.status, answer.headers).end(answer.body ?? "");
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  vi.stubEnv("SUPABASE_ACCESS_TOKEN", "sbp_test-token");
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  vi.unstubAllEnvs();
});

function api(signal = AbortSignal.timeout(20_000)) {
  return managementApi({ api: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, projectRef }, signal);
}

const now = { "retry-after": "0" };
const fine = { status: 200, body: "[]" };

describe("calls of the Management API", () => {
  test("carry the token", async () => {
    answers = [fine];
    await api().secretDigests();
    expect(asked.map(({ headers, url }) => [headers.authorization, url])).toEqual([
      ["Bearer sbp_test-token", `/v1/projects/${projectRef}/secrets`],
    ]);
  });

  test("are repeated after 429, 5xx and a lost connection", async () => {
    answers = [{ status: 429, headers: now }, { status: 503, headers: now }, "hang up", fine];
    expect(await api().secretDigests()).toEqual(new Map());
    expect(asked).toHaveLength(4);
  });

  test("wait as long as Retry-After says", async () => {
    answers = [{ status: 429, headers: { "retry-after": "1" } }, fine];
    const start = performance.now();
    await api().secretDigests();
    expect(performance.now() - start).toBeGreaterThan(950);
  });

  test("give up after six attempts, in the API's words", async () => {
    answers = [{ status: 500, headers: now, body: '{"message":"Out of order"}' }];
    const failed = await api()
      .secretDigests()
      .catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(ResourceError);
    expect((failed as Error).message).toMatch(/^GET http:.*\/secrets answered 500: Out of order$/);
    expect(asked).toHaveLength(6);
  });

  test("are not repeated when they are refused, and say what to mend", async () => {
    answers = [{ status: 401, body: '{"message":"Unauthorized"}' }];
    await expect(api().getFunction("a")).rejects.toThrow(
      "answered 401: Unauthorized; SUPABASE_ACCESS_TOKEN is not a valid token",
    );
    expect(asked).toHaveLength(1);
  });

  test("end when the engine cancels, also while they wait", async () => {
    answers = [{ status: 429, headers: { "retry-after": "20" } }];
    const cancel = new AbortController();
    const call = api(cancel.signal).secretDigests();
    setTimeout(() => cancel.abort(), 100);
    const start = performance.now();
    await expect(call).rejects.toThrow("aborted");
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  test("without a token do not leave, and say what to set", async () => {
    answers = [fine];
    vi.stubEnv("SUPABASE_ACCESS_TOKEN", "");
    const failed = await api()
      .secretDigests()
      .catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(ResourceError);
    expect((failed as Error).message).toContain("SUPABASE_ACCESS_TOKEN is not set");
    expect(asked).toHaveLength(0);
  });
});
