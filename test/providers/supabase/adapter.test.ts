import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { supabase } from "../../../providers/supabase/adapter.ts";
import { secretName } from "../../../providers/supabase/names.ts";

const ref = "abcdefghijklmnopqrst";
const slugs = fc.stringMatching(supabase.names.pattern).filter((slug) => slug.length <= supabase.names.maxLength);

describe("names", () => {
  test("no two slugs share a secret", () => {
    fc.assert(
      fc.property(slugs, slugs, (a, b) => {
        expect(secretName("FEDERATION_KEY", a) === secretName("FEDERATION_KEY", b)).toBe(a === b);
        expect(secretName("FEDERATION_KEY", a)).not.toBe(secretName("FEDERATION_CONFIG", b));
      }),
    );
  });

  test("every name is one that Supabase takes", () => {
    fc.assert(
      fc.property(slugs, (slug) => {
        expect(slug).toMatch(/^[A-Za-z][A-Za-z0-9_-]*$/);
        expect(secretName("FEDERATION_CONFIG", slug)).toMatch(/^[A-Z][A-Z0-9_]{0,255}$/);
      }),
    );
  });

  test.each(["Hub", "a_b", "1a", "-a", ""])("%j is refused", (slug) => {
    expect(supabase.names.pattern.test(slug)).toBe(false);
  });
});

describe("settings", () => {
  test("only the project is needed", () => {
    const settings = supabase.settings.parse({ projectRef: ref });
    expect(settings).toEqual({ projectRef: ref, api: "https://api.supabase.com" });
    expect(supabase.urlFor("net-acme-hub", settings)).toBe(`https://${ref}.supabase.co/functions/v1/net-acme-hub`);
  });

  test("endpoints can be others", () => {
    const url = `http://127.0.0.1:7700/supabase/projects/${ref}/functions/v1/{name}`;
    const settings = supabase.settings.parse({ projectRef: ref, api: "http://127.0.0.1:7700/supabase", url });
    expect(supabase.urlFor("net-a", settings)).toBe(
      `http://127.0.0.1:7700/supabase/projects/${ref}/functions/v1/net-a`,
    );
  });

  test.each([
    [{}, "projectRef"],
    [{ projectRef: "ABC" }, "projectRef"],
    [{ projectRef: ref, api: "ftp://x" }, "api"],
    [{ projectRef: ref, url: "https://x.test/" }, "url"],
    [{ projectRef: ref, url: "https://{name}.test/{name}" }, "url"],
  ])("%j is refused", (given, path) => {
    const parsed = supabase.settings.safeParse(given);
    expect(parsed.error?.issues.map((issue) => issue.path.join("."))).toEqual([path]);
  });

  test("unknown settings are refused", () => {
    expect(supabase.settings.safeParse({ projectRef: ref, project: ref }).error?.issues[0]?.code).toBe(
      "unrecognized_keys",
    );
  });
});
