/** The part of the Workers runtime API that the entry and the state use. https://developers.cloudflare.com/workers/runtime-apis/ */
declare module "cloudflare:workers" {
  export abstract class DurableObject<Env = unknown> {
    constructor(ctx: DurableObjectState, env: Env);
    protected readonly ctx: DurableObjectState;
    protected readonly env: Env;
    alarm?(): void | Promise<void>;
  }

  export interface DurableObjectState {
    readonly storage: DurableObjectStorage;
  }

  export interface DurableObjectStorage {
    readonly sql: SqlStorage;
    /** Runs a synchronous function; what it wrote is undone when it throws. */
    transactionSync<T>(work: () => T): T;
    getAlarm(): Promise<number | null>;
    /** Milliseconds since 1970. */
    setAlarm(time: number): Promise<void>;
  }

  export interface SqlStorage {
    exec<Row extends Record<string, SqlValue>>(
      query: string,
      ...bindings: readonly SqlValue[]
    ): Iterable<Row> & { toArray(): Row[] };
  }

  export type SqlValue = string | number | null | ArrayBuffer;

  /** Objects of one class. `Methods` are those that a stub calls over RPC. */
  export interface DurableObjectNamespace<Methods> {
    getByName(name: string): Methods;
  }

  export interface ExecutionContext {
    waitUntil(work: Promise<unknown>): void;
  }

  /** Lets work of the current request go on after its response was sent. */
  export function waitUntil(work: Promise<unknown>): void;
}
