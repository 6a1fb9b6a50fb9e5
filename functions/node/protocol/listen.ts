import type { HeldManifest } from "../federation/held-manifest.ts";
import { follow, type FollowOptions, sourcesOf } from "../federation/follow.ts";
import { sleep } from "../federation/sleep.ts";
import { decide, mayAsk } from "../security/policy.ts";
import type { Changes } from "./changes.ts";
import { serverInfo } from "./envelope.ts";
import { everyKind, type Filter, filterFields, readFilter } from "./change-filter.ts";
import type { Kind } from "./methods.ts";
import { eventStream } from "./reply.ts";
import { code, type Fields, metaKey, RpcError } from "./rpc.ts";
import type { Admission } from "./sdk.ts";

/** The two streams of changes that a node serves. */
export interface Listener {
  readonly listen: Listen;
  /**
   * The stream of a legacy session. It begins with a `GET` of every client, so it is kept cheap: it tells what this node's functions announce,
   * what a new manifest changes, and updates of the resources in `uris`, which may become others meanwhile.
   */
  stream(admission: Admission, uris: () => Promise<readonly string[]>, signal: AbortSignal): Response;
}

/** Opens the stream of `subscriptions/listen`. Throws `RpcError` before the stream begins. */
export type Listen = (
  admission: Admission,
  id: string | number,
  params: Fields,
  signal: AbortSignal,
) => Promise<Response>;

export interface ListenOptions extends FollowOptions {
  readonly changes: Changes;
  /** The manifest in force. */
  readonly held: () => Promise<HeldManifest | undefined>;
}

/** Milliseconds. */
const lookEvery = 500;
/** Each look is a request to the node's state: who listens for long, or because every client does, hears a little later. */
const lookSeldom = 2_000;
const eagerFor = 30_000;
const pingEvery = 15_000;
/** The stream ends itself in good order, since who listens may have lost the right to; a client that still has it listens again. */
const longest = 600_000;
const maxStreams = 256;

/** What one stream is about. */
interface Subject {
  readonly admission: Admission;
  readonly signal: AbortSignal;
  /** The `subscriptions/listen` request; undefined for a legacy session. */
  readonly id?: string | number;
  readonly filter: Filter;
  /** Looked up again and again. */
  readonly uris?: () => Promise<readonly string[]>;
}

/**
 * Merges what functions announce, what peers and upstreams tell, and what a new manifest brings and takes away, under the
 * subscription id of the caller. The streams to others are opened for each stream of a caller: on some platforms nothing can be shared
 * between requests.
 */
export function listener(options: ListenOptions): Listener {
  const { config, changes, route, held: newest } = options;
  let open = 0;
  return {
    async listen(admission, id, params, signal) {
      const wanted = readFilter(params);
      if (open >= maxStreams) throw new RpcError(code.unavailable, "This node has no more room for subscriptions");
      const filter = { ...wanted, uris: wanted.uris.filter((uri) => readable(admission, uri)) };
      return begin({ admission, signal, id, filter });
    },
    stream(admission, uris, signal) {
      if (open >= maxStreams) return new Response(null, { status: 405 });
      return begin({ admission, signal, filter: { kinds: everyKind, uris: [] }, uris });
    },
  };

  function begin({ admission, signal, id, filter: first, uris }: Subject): Response {
    open += 1;
    const { held, callId } = admission;
    const over = new AbortController();
    const leave = () => over.abort();
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave, { once: true });
    over.signal.addEventListener("abort", () => (open -= 1), { once: true });

    let filter = first;
    let following = new AbortController();
    let subscribed = "[]";
    const stream = eventStream(leave);
    const mark = id === undefined ? {} : { _meta: { [metaKey.subscriptionId]: id } };
    const tell = (method: string, fields: Fields = {}) => {
      const params = { ...fields, ...mark };
      stream.send({ jsonrpc: "2.0", method, ...(Object.keys(params).length > 0 && { params }) });
    };
    const changed = (kind: Kind) => filter.kinds.includes(kind) && tell(`notifications/${kind}/list_changed`);
    const updated = (uri: string) => filter.uris.includes(uri) && tell("notifications/resources/updated", { uri });
    const end = () => {
      const _meta = { [metaKey.subscriptionId]: id, [metaKey.serverInfo]: serverInfo };
      if (id !== undefined) stream.send({ jsonrpc: "2.0", id, result: { resultType: "complete", _meta } });
      stream.close();
      leave();
    };

    if (id !== undefined) tell("notifications/subscriptions/acknowledged", { notifications: filterFields(filter) });
    if (filter.kinds.length === 0 && filter.uris.length === 0) end();
    else {
      followAll();
      void watch();
    }
    return stream.response;

    function followAll(): void {
      following.abort();
      following = new AbortController();
      over.signal.addEventListener("abort", () => following.abort(), { once: true });
      const asked = id === undefined ? { kinds: [], uris: filter.uris } : filter;
      for (const source of sourcesOf(options, admission, asked))
        void follow(options, admission, source, following.signal, changed, updated);
    }

    /** Subscriptions of a session may have become others. */
    async function lookAgain(): Promise<void> {
      const wanted = await uris?.();
      if (!wanted || JSON.stringify(wanted) === subscribed) return;
      subscribed = JSON.stringify(wanted);
      filter = { ...filter, uris: wanted.filter((uri) => readable(admission, uri)) };
      followAll();
    }

    async function watch(): Promise<void> {
      const started = Date.now();
      let pinged = started;
      try {
        let place = await changes.now();
        while (!over.signal.aborted) {
          await lookAgain();
          const eager = id !== undefined && Date.now() - started < eagerFor;
          await sleep(eager ? lookEvery : lookSeldom, over.signal);
          const news = await changes.since(place);
          place = news.place;
          for (const change of news.changes) {
            if (typeof change === "object") updated(change.uri);
            else changed(change);
          }
          const now = Date.now();
          if (now - pinged >= pingEvery) {
            stream.ping();
            pinged = now;
          }
          const renewed = (await newest())?.serial !== held.serial;
          if (renewed) for (const kind of filter.kinds) changed(kind);
          // Whether the caller may still listen, and to whom, is decided anew with the next request.
          if (renewed || now - started >= longest) return end();
        }
      } catch (cause) {
        console.error(JSON.stringify({ error: "a subscription failed", callId, cause: String(cause) }));
        stream.fail(cause);
        leave();
      }
    }
  }

  function readable({ principal, held: { manifest }, held }: Admission, uri: string): boolean {
    const way = route(held, "resources", uri);
    const now = Date.now();
    if (way.to !== "peer")
      return decide({ manifest, node: config.node, party: principal, kind: "resources", name: uri, now }).allow;
    const party = { organization: principal.organization, actors: [...principal.actors, config.node] };
    return !principal.via.includes(way.peer) && mayAsk(manifest, way.peer, party, "resources", now);
  }
}
