import { expect, test } from "vitest";
import { printable, table } from "../../cli/table.ts";

test("columns are as wide as their longest cell, and lines have no trailing spaces", () => {
  expect(
    table([
      ["NODE", "STATE"],
      ["acme/edge", "ok"],
      ["b", ""],
    ]),
  ).toBe("NODE       STATE\nacme/edge  ok\nb");
});

test("text from elsewhere cannot drive a terminal", () => {
  expect(printable("a\u001b[31mb\rc\td\ne\u009b")).toBe("a�[31mb�c\td\ne�");
});
