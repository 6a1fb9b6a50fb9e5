import { afterAll, beforeAll, describe, test, vi } from "vitest";
import { echoBundle, expectations, twoNodes, type TwoNodes } from "../protocols.ts";
import { deployNode, startTestCloud, type TestCloud } from "./local.ts";

// The peer is in this process, and so are its audit lines.
vi.spyOn(console, "log").mockImplementation(() => undefined);

let cloud: TestCloud;
let nodes: TwoNodes;

beforeAll(async () => {
  cloud = await startTestCloud();
  nodes = await twoNodes(`${cloud.url}/sockets`);
  const bindings = [
    { type: "plain_text", name: "FEDERATION_CONFIG", text: JSON.stringify(nodes.config) },
    { type: "secret_text", name: "FEDERATION_KEY", text: JSON.stringify(nodes.key) },
    { type: "durable_object_namespace", name: "STATE", class_name: "NodeState" },
  ];
  await deployNode(cloud, "sockets", await echoBundle("cloudflare"), { bindings });
  await nodes.wire();
});
afterAll(async () => {
  await nodes.close();
  await cloud.close();
});

describe("the protocols of a node on real workerd", () => {
  test.each(Object.entries(expectations))("%s", async (_, check) => await check(nodes));
});
