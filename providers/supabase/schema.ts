/** Grows with every change of {@link schemaSql}. */
export const schemaVersion = 2;

const signatures = [
  "federation_state_get(text, text)",
  "federation_state_put(text, text, text, double precision)",
  "federation_state_cas(text, text, bigint, text, double precision)",
  "federation_state_append(text, text, text, double precision)",
  "federation_state_append_all(text, text, text[], double precision)",
  "federation_state_list(text, text, text, integer)",
].map((signature) => `public.${signature}`);

/**
 * Brings a project's database to {@link schemaVersion}: one implicit transaction, safe to run again and from two deployments at once.
 *
 * The tables are in a schema that PostgREST does not expose. The functions must be in `public` to be called by RPC; they run with the
 * caller's rights, and only `service_role` may execute them or touch the tables. The revocations are needed because Supabase's default
 * privileges let `anon` and `authenticated` execute whatever is created in `public`.
 */
export const schemaSql = `
select pg_advisory_xact_lock(hashtext('federation.schema'));

create schema if not exists federation;
create table if not exists federation.schema_version (version integer not null, only_row boolean primary key default true check (only_row));
create table if not exists federation.owner (name text primary key);

-- "C" sorts by code unit, as State.list promises. The value is JSON text, not jsonb, which would refuse \\u0000 and reorder keys.
create table if not exists federation.entry (
  node text collate "C" not null,
  key text collate "C" not null,
  value text not null,
  version bigint not null,
  expires_at timestamptz,
  primary key (node, key)
);
create index if not exists entry_expires_at on federation.entry (expires_at) where expires_at is not null;
create table if not exists federation.log (
  node text collate "C" not null,
  name text collate "C" not null,
  last bigint not null,
  primary key (node, name)
);

create or replace function federation.expiry(p_ttl double precision) returns timestamptz
language sql volatile set search_path = '' as $$
  -- A century at most: timestamps end, and doubles do not.
  select clock_timestamp() + make_interval(secs => least(p_ttl, 3e9))
$$;

create or replace function federation.live(p_expires_at timestamptz) returns boolean
language sql volatile set search_path = '' as $$
  select p_expires_at is null or p_expires_at > clock_timestamp()
$$;

-- A few expired rows go with each write that can expire.
create or replace function federation.purge() returns void
language sql volatile set search_path = '' as $$
  delete from federation.entry where (node, key) in (
    select node, key from federation.entry where expires_at < now()
    order by expires_at limit 16 for update skip locked
  )
$$;

create or replace function public.federation_state_get(p_node text, p_key text) returns json
language sql volatile set search_path = '' as $$
  select json_build_object('value', e.value, 'version', e.version)
  from federation.entry e
  where e.node = p_node and e.key = p_key and federation.live(e.expires_at)
$$;

create or replace function public.federation_state_put(p_node text, p_key text, p_value text, p_ttl double precision) returns bigint
language plpgsql volatile set search_path = '' as $$
declare written bigint;
begin
  if p_ttl is not null then perform federation.purge(); end if;
  insert into federation.entry as e (node, key, value, version, expires_at)
  values (p_node, p_key, p_value, 1, federation.expiry(p_ttl))
  on conflict (node, key) do update
    set value = excluded.value, version = case when federation.live(e.expires_at) then e.version else 0 end + 1, expires_at = excluded.expires_at
  returning e.version into written;
  return written;
end
$$;

create or replace function public.federation_state_cas(p_node text, p_key text, p_expected bigint, p_value text, p_ttl double precision)
returns bigint
language plpgsql volatile set search_path = '' as $$
declare written bigint;
begin
  if p_ttl is not null then perform federation.purge(); end if;
  if p_expected = 0 then
    insert into federation.entry as e (node, key, value, version, expires_at)
    values (p_node, p_key, p_value, 1, federation.expiry(p_ttl))
    on conflict (node, key) do update
      set value = excluded.value, version = 1, expires_at = excluded.expires_at
      where not federation.live(e.expires_at)
    returning e.version into written;
  else
    update federation.entry e
    set value = p_value, version = e.version + 1, expires_at = federation.expiry(p_ttl)
    where e.node = p_node and e.key = p_key and e.version = p_expected and federation.live(e.expires_at)
    returning e.version into written;
  end if;
  return written;
end
$$;

create or replace function public.federation_state_append(p_node text, p_log text, p_value text, p_ttl double precision) returns bigint
language plpgsql volatile set search_path = '' as $$
declare sequence bigint;
begin
  insert into federation.log as l (node, name, last) values (p_node, p_log, 1)
  on conflict (node, name) do update set last = l.last + 1
  returning l.last into sequence;
  perform public.federation_state_put(p_node, p_log || '/' || lpad(sequence::text, 16, '0'), p_value, p_ttl);
  return sequence;
end
$$;

create or replace function public.federation_state_append_all(p_node text, p_log text, p_values text[], p_ttl double precision) returns void
language plpgsql volatile set search_path = '' as $$
declare last_one bigint;
begin
  if p_ttl is not null then perform federation.purge(); end if;
  insert into federation.log as l (node, name, last) values (p_node, p_log, cardinality(p_values))
  on conflict (node, name) do update set last = l.last + excluded.last
  returning l.last into last_one;
  insert into federation.entry (node, key, value, version, expires_at)
  select p_node, p_log || '/' || lpad((last_one - cardinality(p_values) + given.place)::text, 16, '0'), given.value, 1, federation.expiry(p_ttl)
  from unnest(p_values) with ordinality as given (value, place);
end
$$;

-- One JSON value and not a set of rows: PostgREST cuts sets at its max-rows (1000 by default) without a word.
-- "~" sorts after every character a key may have, so the range holds exactly the keys with the prefix.
create or replace function public.federation_state_list(p_node text, p_prefix text, p_after text, p_limit integer) returns json
language sql volatile set search_path = '' as $$
  with page as (
    select e.key, e.value, e.version
    from federation.entry e
    where e.node = p_node and e.key >= p_prefix and e.key < p_prefix || '~' and e.key > p_after and federation.live(e.expires_at)
    order by e.key
    limit p_limit + 1
  )
  select json_build_object(
    'entries', coalesce((
      select json_agg(json_build_object('key', p.key, 'value', p.value, 'version', p.version) order by p.key)
      from (select * from page order by key limit p_limit) p
    ), '[]'::json),
    'more', (select count(*) from page) > p_limit
  )
$$;

alter table federation.schema_version enable row level security;
alter table federation.owner enable row level security;
alter table federation.entry enable row level security;
alter table federation.log enable row level security;
revoke all on schema federation from public, anon, authenticated;
revoke all on all tables in schema federation from public, anon, authenticated;
revoke all on all functions in schema federation from public, anon, authenticated;
revoke all on function ${signatures.join(", ")} from public, anon, authenticated;
grant usage on schema federation to service_role;
grant select, insert, update, delete on federation.entry, federation.log to service_role;
grant execute on all functions in schema federation to service_role;
grant execute on function ${signatures.join(", ")} to service_role;

insert into federation.schema_version (version) values (${schemaVersion})
on conflict (only_row) do update set version = greatest(schema_version.version, excluded.version);
notify pgrst, 'reload schema';
`;

/** Counts a user of the schema; several organizations and stacks may share a project. */
export function claimSql(owner: string): string {
  return `insert into federation.owner (name) values (${literal(owner)}) on conflict do nothing;`;
}

/** Answers one row: whether the schema is there. The other queries need it to be. */
export const presentSql = "select to_regclass('federation.schema_version') is not null as present;";

/** Answers one row: the version of the schema, and whether `owner` is counted. */
export function observeSql(owner: string): string {
  return `select version, exists (select 1 from federation.owner where name = ${literal(owner)}) as claimed from federation.schema_version;`;
}

/** Drops a user of the schema, and with the last one the schema and all state in it. */
export function releaseSql(owner: string): string {
  return `do $release$
begin
  perform pg_advisory_xact_lock(hashtext('federation.schema'));
  if to_regclass('federation.owner') is null then return; end if;
  delete from federation.owner where name = ${literal(owner)};
  if exists (select 1 from federation.owner) then return; end if;
  ${signatures.map((signature) => `drop function if exists ${signature};`).join("\n  ")}
  drop schema federation cascade;
end
$release$;`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
