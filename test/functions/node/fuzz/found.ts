import type { Case } from "./cases.ts";

const deep = "[".repeat(9_000) + "]".repeat(9_000);
const meta = '{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}';

/** Cases that once broke a promise, by what they broke. */
export const found: Readonly<Record<string, Case>> = {
  "an answer of a peer, nested too deep to be written again, was HTTP 500": {
    kind: "peer",
    ask: "prompts/get",
    status: 200,
    type: "application/json",
    body: `{"jsonrpc":"2.0","id":"$id","result":{"messages":${deep}}}`,
    cuts: [],
  },
  "a tool of a peer with a strange `uri` broke the whole list": {
    kind: "peer",
    ask: "tools/list",
    status: 200,
    type: "application/json",
    body: '{"jsonrpc":"2.0","id":"$id","result":{"tools":[{"name":"open","uri":[{"toString":1}],"uriTemplate":{"toString":1}}]}}',
    cuts: [],
  },
  "a wrong `Mcp-Name` was overlooked when the version was an old one": {
    kind: "rpc",
    by: "post",
    headers: {
      "content-type": "application/json",
      accept: "application/json",
      "mcp-protocol-version": "2025-11-25",
      "mcp-name": "open",
    },
    body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"closed"}}',
    token: "ada",
  },
  "arguments nested too deep to be sent on were the peer's fault": {
    kind: "rpc",
    by: "fetch",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": "globex-compute.open",
    },
    body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"globex-compute.open","arguments":{"a":${deep}},"_meta":${meta}}}`,
    token: "ada",
  },
};
