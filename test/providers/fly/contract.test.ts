import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { flyCloud, machineConfig } from "./cloud.ts";
import type { FlyCloud } from "./cloud.ts";
import { Contract, missing, recordingPath } from "./contract.ts";

const server = `import { createServer } from "node:http";
createServer((_, response) => response.end("ok")).listen(Number(process.env.PORT), process.env.HOST);`;

describe.skipIf(missing)(
  missing ? `Fly's API document (SKIPPED: no ${missing})` : "Fly's API document",
  { timeout: 60_000 },
  () => {
    let cloud: FlyCloud;
    let contract: Contract;
    const call = async (method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
      const answer = await cloud.call(method, path, body, headers);
      contract.check({ method, path: `/v1${path}`, body, status: answer.status, answer: answer.body });
      return answer;
    };

    beforeAll(async () => {
      cloud = await flyCloud();
      contract = new Contract();
    });
    afterAll(() => cloud.remove());

    test("every route of the emulator takes and answers what the document says", async () => {
      await call("GET", "/platform/regions");
      await call("GET", "/tokens/current");
      await call("POST", "/apps", { name: "tour", org_slug: "acme" });
      await call("POST", "/apps", { name: "tour", org_slug: "acme" });
      await call("GET", "/apps?org_slug=acme");
      await call("GET", "/apps/tour");
      for (const type of ["shared_v4", "v6", "v4", "private_v6"])
        await call("POST", "/apps/tour/ip_assignments", { type });
      const { ips } = (await call("GET", "/apps/tour/ip_assignments")).body;
      await call("DELETE", `/apps/tour/ip_assignments/${ips[2].ip}`);
      expect((await call("GET", "/apps/tour/ip_assignments")).body.ips).toHaveLength(3);
      await call("POST", "/apps/tour/certificates/acme", { hostname: "mcp.example.com" });
      await call("GET", "/apps/tour/certificates");
      await call("GET", "/apps/tour/certificates/mcp.example.com");
      await call("POST", "/apps/tour/certificates/mcp.example.com/check");
      await call("DELETE", "/apps/tour/certificates/mcp.example.com");
      await call("POST", "/apps/tour/secrets", { values: { A: "1", B: "2" } });
      await call("POST", "/apps/tour/secrets/C", { value: "3" });
      await call("GET", "/apps/tour/secrets?min_version=2");
      await call("GET", "/apps/tour/secrets/C?show_secrets=true");
      await call("DELETE", "/apps/tour/secrets/C");
      const volume = (await call("POST", "/apps/tour/volumes", { name: "data", region: "ams", size_gb: 1 })).body;
      await call("GET", "/apps/tour/volumes");
      await call("PUT", `/apps/tour/volumes/${volume.id}/extend`, { size_gb: 2 });

      const config = machineConfig("http://127.0.0.1/x", server, volume.id);
      const made = (await call("POST", "/apps/tour/machines", { name: "one", region: "ams", config, lease_ttl: 30 }))
        .body;
      const one = `/apps/tour/machines/${made.id}`;
      const held = { "fly-machine-lease-nonce": made.nonce as string };
      await call("GET", `${one}/wait?state=started&timeout=20&version=${made.instance_id}`);
      await call("GET", `${one}/wait?state=stopped&timeout=1`);
      await call("GET", "/apps/tour/machines?state=started");
      await call("GET", one);
      for (const part of ["events", "versions", "ps", "metadata", "lease"]) await call("GET", `${one}/${part}`);
      await call("POST", `${one}/cordon`);
      await call("POST", `${one}/cordon`, undefined, held);
      await call("POST", `${one}/uncordon`);
      await call("POST", `${one}/metadata/tag`, { value: "v" });
      await call("GET", `${one}/metadata/tag`);
      await call("PATCH", `${one}/metadata`, { metadata: { more: "x" } });
      expect((await call("GET", `${one}/metadata`)).body).toMatchObject({ tag: "v", more: "x" });
      await call("PUT", `${one}/metadata`, { metadata: { only: "y" } });
      await call("DELETE", `${one}/metadata/only`);
      expect((await call("GET", `${one}/metadata`)).body).toEqual({});
      expect((await call("GET", `${one}/metadata/only`)).status).toBe(404);
      await call("POST", `${one}/lease?ttl=13`, { ttl: 13 }, held);
      await call("POST", one, { config, current_version: "01ARZ3NDEKTSV4RRFFQ69G5FAV" }, held);
      await call("POST", one, { config, current_version: made.instance_id, min_secrets_version: 4 }, held);
      await call("GET", `${one}/wait?state=started&timeout=20`);
      await call("DELETE", `${one}/lease`, undefined, held);
      await call("POST", `${one}/restart`);
      await call("GET", `${one}/wait?state=started&timeout=20`);
      await call("POST", `${one}/suspend`);
      await call("POST", `${one}/start`);
      await call("GET", `${one}/wait?state=started&timeout=20`);
      await call("POST", `${one}/stop`, { signal: "SIGTERM", timeout: "5s" });
      await call("DELETE", one);
      await call("GET", `${one}/wait?state=destroyed&timeout=5`);
      await call("DELETE", "/apps/tour");
      expect(contract.problems).toEqual([]);
      expect(contract.seen.size).toBeGreaterThanOrEqual(38);
    });

    test("what fly 0.4.83 sent in its deploys works here: same requests, statuses as it got", async () => {
      const lines = readFileSync(recordingPath, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, any>);
      const requests = lines.filter(({ url }) => (url as string | undefined)?.startsWith("/v1/"));
      /** Ids the recording and this emulator gave to the same machine. */
      const ids = new Map<string, string>();
      const nonces = new Map<string, string>();
      let replayed = 0;
      for (const [index, recorded] of requests.entries()) {
        const { method, url, status } = recorded as { method: string; url: string; status: number };
        // fly polls; each question once is enough.
        if (method === "GET" && requests[index - 1]?.["url"] === url && !url.includes("/wait")) continue;
        const recordedId = /\/machines\/([0-9a-f]{14})/.exec(url)?.[1];
        const id = recordedId && ids.get(recordedId);
        if (recordedId) expect(id, url).toMatch(/^[0-9a-f]{14}$/);
        const path = (recordedId ? url.replace(recordedId, id ?? "") : url).slice("/v1".length);
        const body = recorded["body"] ? substitute(JSON.parse(recorded["body"])) : undefined;
        const nonce = recorded["fly-machine-lease-nonce"] ? nonces.get(id ?? "") : undefined;
        const answer = await call(method, path, body, nonce === undefined ? {} : { "fly-machine-lease-nonce": nonce });
        expect(`${method} ${url} ${answer.status}`).toBe(`${method} ${url} ${url.endsWith("/acme") ? 201 : status}`);
        const made = answer.body?.id;
        if (method === "POST" && url.endsWith("/machines"))
          ids.set(JSON.parse(`{${/"id":"[0-9a-f]+"/.exec(recorded["resp"])?.[0]}}`).id, made);
        const got = answer.body?.nonce ?? answer.body?.data?.nonce;
        if (got) nonces.set(id ?? made, got);
        replayed += 1;
      }
      expect(replayed).toBeGreaterThan(40);
      expect(ids.size).toBe(3);
      expect(contract.problems).toEqual([]);
    });

    test("no accepted deviation is left over", () => {
      expect(contract.unused()).toEqual([]);
    });
  },
);

/** The recorded machines ran nginx; the local cloud has Node.js only, so they run a server that answers every path. */
function substitute(body: any): unknown {
  if (!body.config) return body;
  const files = [{ guest_path: "/server.mjs", raw_value: Buffer.from(server).toString("base64") }];
  return {
    ...body,
    config: {
      ...body.config,
      image: "docker.io/library/node:24.21.0-slim",
      init: { cmd: ["node", "/server.mjs"] },
      files,
    },
  };
}
