import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { compactVerify } from "jose";
import {
  manifestMediaType,
  manifestType,
  type FederationStatus,
  type Manifest,
} from "../../../functions/node/federation/manifest.ts";
import type { PublicJwk } from "../../../functions/node/platform.ts";
import { digestOf } from "../../../providers/plugin/manifest.ts";

/** The federation endpoint of a node and nothing else: takes manifests that the root signed and that are newer than its own. */
export class FederationEndpoint {
  readonly #server: Server = createServer((request, response) => void this.#answer(request, response));
  readonly #network: string;
  readonly node: string;
  readonly key: PublicJwk;
  port = 0;
  root: PublicJwk | undefined;
  manifest: Manifest | undefined;
  #jws: string | undefined;
  puts = 0;
  gets = 0;

  constructor(network: string, node: string, key: PublicJwk) {
    this.#network = network;
    this.node = node;
    this.key = key;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get status(): FederationStatus {
    const held =
      this.#jws && this.manifest ? { serial: this.manifest.serial, digest: digestOf(this.#jws) } : { serial: 0 };
    return { network: this.#network, node: this.node, ...held, key: this.key };
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.port, "127.0.0.1", resolve));
    this.port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  forget(): void {
    this.manifest = undefined;
    this.#jws = undefined;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const refusal =
      request.method === "PUT" ? await this.#take(request, Buffer.concat(chunks).toString()) : void this.gets++;
    response.writeHead(refusal ? 409 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(refusal ? { error: refusal } : this.status));
  }

  async #take(request: IncomingMessage, jws: string): Promise<string | undefined> {
    this.puts++;
    if (request.headers["content-type"] !== manifestMediaType) return "not a manifest";
    if (!this.root) return "this node was told no root key";
    let payload: Uint8Array;
    try {
      const verified = await compactVerify(jws, { ...this.root }, { algorithms: ["EdDSA"] });
      if (verified.protectedHeader.typ !== manifestType || verified.protectedHeader.kid !== this.root.kid)
        return "another kind of document";
      payload = verified.payload;
    } catch {
      return "the signature is not the root's";
    }
    const manifest = JSON.parse(new TextDecoder().decode(payload)) as Manifest;
    if (manifest.serial <= this.status.serial && digestOf(jws) !== this.status.digest)
      return `serial ${manifest.serial} is not newer`;
    this.manifest = manifest;
    this.#jws = jws;
    return undefined;
  }
}
