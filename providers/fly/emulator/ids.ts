import { randomBytes } from "node:crypto";

/** Lower-case hexadecimal. */
export function randomId(length: number): string {
  return randomBytes(Math.ceil(length / 2))
    .toString("hex")
    .slice(0, length);
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A ULID: 26 characters that sort by time, as Fly's instance and event ids do. */
export function ulid(now = Date.now()): string {
  let time = "";
  for (let rest = now, n = 0; n < 10; n += 1, rest = Math.floor(rest / 32)) time = crockford[rest % 32] + time;
  return time + [...randomBytes(16)].map((byte) => crockford[byte % 32]).join("");
}
