import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { PGlite } from "@electric-sql/pglite";

/** An error that Postgres answered. */
export interface PostgresError extends Error {
  /** SQLSTATE. */
  readonly code: string;
  readonly severity: string;
  readonly detail?: string;
  readonly hint?: string;
}

export interface RpcResult {
  /** JSON text; undefined where the function returns nothing. */
  readonly json: string | undefined;
}

/** A function that RPC may call. */
interface Routine {
  readonly name: string;
  readonly argNames: readonly string[];
  readonly argTypes: readonly string[];
  /** How many of the last arguments have a default. */
  readonly defaults: number;
  readonly returnsSet: boolean;
  readonly returnsVoid: boolean;
}

/** A project's Postgres (PGlite) with the roles of Supabase. It has one connection, so everything runs in turn. */
export interface Database {
  /** Runs statements as `postgres`; rows of the last one. */
  query(sql: string, readOnly: boolean): Promise<readonly unknown[]>;
  /** Calls `public.name` as `role`, arguments by name from a JSON object; undefined = there is no such function. */
  call(role: string, name: string, args: Readonly<Record<string, unknown>>): Promise<RpcResult | undefined>;
  close(): Promise<void>;
}

const roles = `
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
`;

/** Opens the database in a folder; the first time makes it, which takes a few seconds. */
export async function openDatabase(folder: string): Promise<Database> {
  if (!existsSync(folder)) await makeDatabase(folder);
  const db = await PGlite.create(folder);
  /** What PostgREST calls its schema cache. */
  let routines = new Map<string, Promise<readonly Routine[]>>();
  let last: Promise<unknown> = Promise.resolve();
  return { query, call, close: () => inTurn(() => db.close()) };

  /** A statement that fails may leave a transaction open; nothing else must run before it is rolled back. */
  function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = last.then(work, work);
    last = result.catch(() => undefined); // whoever asked gets the error
    return result;
  }

  function query(sql: string, readOnly: boolean): Promise<readonly unknown[]> {
    return inTurn(async () => {
      routines = new Map();
      try {
        const results = await db.exec(readOnly ? `set transaction read only; ${sql}` : sql);
        return results.at(-1)?.rows ?? [];
      } catch (error) {
        await db.exec("rollback");
        throw error;
      }
    });
  }

  async function call(
    role: string,
    name: string,
    args: Readonly<Record<string, unknown>>,
  ): Promise<RpcResult | undefined> {
    const routine = (await overloads(name)).find((candidate) => accepts(candidate, args));
    if (!routine) return undefined;
    const statement = callStatement(routine, Object.keys(args));
    return inTurn(() =>
      db.transaction(async (transaction) => {
        await transaction.exec(`set local role ${identifier(role)}`);
        const { rows } = await transaction.query<{ answer: string }>(statement, [JSON.stringify(args)]);
        return { json: routine.returnsVoid ? undefined : (rows[0]?.answer ?? "null") };
      }),
    );
  }

  function overloads(name: string): Promise<readonly Routine[]> {
    let found = routines.get(name);
    if (!found) {
      found = inTurn(async () => {
        const { rows } = await db.query<Routine>(
          `select p.proname as name, coalesce(p.proargnames[1:p.pronargs], '{}') as "argNames",
             array(select format_type(t, null) from unnest(p.proargtypes) with ordinality as a(t, n) order by n) as "argTypes",
             p.pronargdefaults as defaults, p.proretset as "returnsSet", p.prorettype = 'void'::regtype as "returnsVoid"
           from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname = $1 and p.prokind = 'f'`,
          [name],
        );
        return rows;
      });
      routines.set(name, found);
    }
    return found;
  }
}

/** Made aside and renamed, so that a folder with the name always holds a whole database. */
async function makeDatabase(folder: string): Promise<void> {
  const draft = `${folder}.new`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true, mode: 0o700 });
  const db = await PGlite.create(draft);
  await db.exec(roles);
  await db.close();
  renameSync(draft, folder);
}

function accepts({ argNames, defaults }: Routine, args: Readonly<Record<string, unknown>>): boolean {
  const required = argNames.slice(0, argNames.length - defaults);
  return required.every((name) => name in args) && Object.keys(args).every((name) => argNames.includes(name));
}

/** As PostgREST does it: Postgres itself reads the arguments out of the JSON body. */
function callStatement(routine: Routine, given: readonly string[]): string {
  const columns = given.map((name) => `${identifier(name)} ${routine.argTypes[routine.argNames.indexOf(name)]}`);
  const passed = given.map((name) => `${identifier(name)} := body.${identifier(name)}`);
  const call = `public.${identifier(routine.name)}(${passed.join(", ")})`;
  const body =
    given.length > 0 ? `json_to_record($1::json) as body(${columns.join(", ")})` : "(select $1::json) as body";
  if (!routine.returnsSet)
    return `select to_json(answer)::text as answer from ${body}, lateral (select ${call} as answer) called`;
  return `select coalesce(json_agg(answer), '[]')::text as answer from ${body}, lateral ${call} as answer`;
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function isPostgresError(error: unknown): error is PostgresError {
  return error instanceof Error && typeof (error as { code?: unknown }).code === "string" && "severity" in error;
}
