/**
 * Stands in for the parts of `@supabase/supabase-js` that a node never touches (auth sessions, realtime, storage, functions):
 * `createClient` imports them all, and they would be more than half of what Supabase adds to a bundle. The bundler puts this
 * module in their place; a node's state goes through the REST client, which stays the library's own.
 */

/** `createClient` makes one and tells it each access token. */
export class RealtimeClient {
  setAuth(): void {}
}

/** `createClient` makes one. */
export class StorageClient {}

/** Made only by a client without `accessToken`. */
export class AuthClient {
  constructor() {
    throw new Error("this bundle has no Supabase Auth: create the client with `accessToken`");
  }
}

/** Made only by `client.functions`. */
export class FunctionsClient {
  constructor() {
    throw new Error("this bundle has no client for Supabase Functions");
  }
}

export class FunctionsError extends Error {}
export class FunctionsFetchError extends FunctionsError {}
export class FunctionsHttpError extends FunctionsError {}
export class FunctionsRelayError extends FunctionsError {}
export class StorageApiError extends Error {}
export const FunctionRegion = {};
