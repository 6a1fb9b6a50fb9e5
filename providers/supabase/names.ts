/** What a node is told; see `readConfig`. */
export type SecretVariable = "FEDERATION_CONFIG" | "FEDERATION_KEY" | "FEDERATION_UPSTREAMS";

/** Secrets of a project are visible to all of its functions, so the names of a node's secrets carry its slug. */
export function secretName(variable: SecretVariable, slug: string): string {
  return `${variable}_${slug.toUpperCase().replaceAll("-", "_")}`;
}

/**
 * Slugs for which {@link secretName} gives no two the same name: with no upper-case letter and no underscore, the mapping can be reversed.
 * Supabase itself would take `^[A-Za-z][A-Za-z0-9_-]*$`.
 */
export const slugPattern = /^[a-z][a-z0-9-]*$/;

/** Ours: Supabase documents no longest slug, and the slug is part of the URL and of the secrets' names (256 at most). */
export const maxSlugLength = 63;

/** 20 lower-case letters. */
export const projectRefPattern = /^[a-z]{20}$/;
