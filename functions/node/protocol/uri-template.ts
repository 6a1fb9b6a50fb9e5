export interface UriTemplate {
  /** The variables of a URI that fits, percent-decoded; undefined where it does not fit. */
  match(uri: string): Readonly<Record<string, string>> | undefined;
}

const expression = /\{([^{}]*)\}/g;
const variableName = /^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$/;

/** True for text with at least one `{expression}`. */
export function isTemplate(uri: string): boolean {
  return /[{}]/.test(uri);
}

/** Compiles an RFC 6570 level 1 template. Throws for other levels. */
export function uriTemplate(template: string): UriTemplate {
  const names: string[] = [];
  const literals: string[] = [];
  let end = 0;
  for (const found of template.matchAll(expression)) {
    const name = found[1] as string;
    if (!variableName.test(name))
      throw new Error(`the URI template ${template} has {${name}}; only level 1 ({name}) of RFC 6570 is supported`);
    names.push(name);
    literals.push(template.slice(end, found.index));
    end = found.index + found[0].length;
  }
  literals.push(template.slice(end));
  const pattern = new RegExp(
    `^${literals.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("([^/?#]+?)")}$`,
  );

  return {
    match(uri) {
      const values = pattern.exec(uri);
      if (!values) return undefined;
      try {
        return Object.fromEntries(names.map((name, n) => [name, decodeURIComponent(values[n + 1] as string)]));
      } catch {
        // Not valid percent-encoding, so no expansion of the template can be this URI.
        return undefined;
      }
    },
  };
}
