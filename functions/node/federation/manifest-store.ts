import type { NodeConfig } from "../platform.ts";
import { isFields } from "../protocol/rpc.ts";
import type { State } from "../state/state.ts";
import { type HeldManifest, ManifestRefused, openManifest } from "./held-manifest.ts";

/** The state's key `manifest`: the one entry whose change switches the node to another manifest. */
interface Pointer {
  readonly serial: number;
  readonly digest: string;
  /** The text is at `manifest/<digest>/0` to `parts - 1`, since one value holds at most 64 KiB. */
  readonly parts: number;
}

const pointerKey = "manifest";
/** A JWS is ASCII, so this stays below the limit of a value with its quotes. */
const partLength = 60_000;
/** How old the knowledge of the stored serial may be, in milliseconds: the time a revocation needs to reach every isolate. */
const refreshAfter = 2_000;
/** A store that cannot be read for this long leaves the node without a policy, and then nothing is allowed. */
const graceMs = 30_000;
const maxAttempts = 8;

/** The manifest this node lives by: in the state for all isolates, and in this one's memory. */
export class ManifestStore {
  readonly #config: NodeConfig;
  readonly #state: State;
  readonly #now: () => number;
  #held: HeldManifest | undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #nextCheck = Number.NEGATIVE_INFINITY;

  constructor(config: NodeConfig, state: State, now: () => number = () => Date.now()) {
    this.#config = config;
    this.#state = state;
    this.#now = now;
  }

  /** The manifest in force, undefined while there is none. Throws when the state cannot be read for too long. */
  async held(): Promise<HeldManifest | undefined> {
    const now = this.#now();
    if (now < this.#nextCheck) return this.#held;
    // Others go on with what is in memory while one request looks.
    if (this.#held) this.#nextCheck = now + refreshAfter;
    try {
      await this.#load();
      this.#checkedAt = now;
      if (this.#held) this.#nextCheck = now + refreshAfter;
    } catch (cause) {
      if (now - this.#checkedAt > graceMs) throw cause;
      console.error(
        JSON.stringify({ error: "the held manifest could not be checked against the state", cause: String(cause) }),
      );
    }
    return this.#held;
  }

  /**
   * Takes a manifest if it is newer than the held one; answers what is held then. Throws {@link ManifestRefused}.
   * Of two concurrent writers the higher serial wins, in whatever order they come.
   */
  async accept(jws: string): Promise<HeldManifest> {
    const offered = await openManifest(jws, this.#config);
    let written = false;
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const entry = await this.#state.get(pointerKey);
      const stored = entry && readPointer(entry.value);
      if (stored && stored.serial >= offered.serial) {
        if (written && stored.digest !== offered.digest) await this.#drop(partsOf(offered));
        if (stored.serial === offered.serial && stored.digest === offered.digest) return this.#adopt(offered);
        throw new ManifestRefused(
          409,
          `this node holds serial ${stored.serial} (${stored.digest}); it takes only a higher one, and got ${offered.serial}`,
        );
      }
      if (!written) await this.#writeParts(offered);
      written = true;
      if ((await this.#state.cas(pointerKey, entry?.version ?? 0, { ...partsOf(offered) })) !== undefined) {
        const held = this.#adopt(offered);
        if (stored) await this.#drop(stored);
        return held;
      }
    }
    throw new Error(`the manifest could not be stored: ${maxAttempts} attempts met a concurrent write`);
  }

  #adopt(opened: HeldManifest): HeldManifest {
    if (!this.#held || this.#held.serial < opened.serial) this.#held = opened;
    this.#checkedAt = this.#now();
    this.#nextCheck = this.#checkedAt + refreshAfter;
    return this.#held;
  }

  async #load(): Promise<void> {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const entry = await this.#state.get(pointerKey);
      if (!entry) return;
      const pointer = readPointer(entry.value);
      if (this.#held && this.#held.serial >= pointer.serial) return;
      const parts = await Promise.all(
        Array.from({ length: pointer.parts }, async (_, n) => await this.#state.get(partKey(pointer, n))),
      );
      // A writer may have switched and dropped the parts between the two reads: then the pointer is already another one.
      if (parts.some((part) => typeof part?.value !== "string")) continue;
      const opened = await openManifest(parts.map((part) => part?.value).join(""), this.#config);
      if (!this.#held || this.#held.serial < opened.serial) this.#held = opened;
      return;
    }
    throw new Error("the stored manifest is incomplete");
  }

  async #writeParts(opened: HeldManifest): Promise<void> {
    const pointer = partsOf(opened);
    const text = (n: number) => opened.jws.slice(n * partLength, (n + 1) * partLength);
    await Promise.all(
      Array.from({ length: pointer.parts }, async (_, n) => await this.#state.put(partKey(pointer, n), text(n))),
    );
  }

  /** The state has no delete: an emptied value with a short life is one. */
  async #drop(pointer: Pointer): Promise<void> {
    await Promise.all(
      Array.from(
        { length: pointer.parts },
        async (_, n) => await this.#state.put(partKey(pointer, n), null, { ttlSeconds: 60 }),
      ),
    );
  }
}

function partsOf({ serial, digest, jws }: HeldManifest): Pointer {
  return { serial, digest, parts: Math.ceil(jws.length / partLength) };
}

function partKey(pointer: Pointer, n: number): string {
  return `manifest/${pointer.digest}/${n}`;
}

function readPointer(value: unknown): Pointer {
  if (!isFields(value) || typeof value["serial"] !== "number")
    throw new Error(`the state's key ${pointerKey} does not hold a manifest`);
  return value as unknown as Pointer;
}
