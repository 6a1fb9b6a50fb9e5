import { expect, test } from "vitest";
import { ApiError } from "../../../providers/cloudflare/emulator/envelope.ts";
import { readUpload } from "../../../providers/cloudflare/emulator/multipart.ts";

const boundary = "----b";

function request(...parts: readonly (readonly [headers: string, body: string])[]): Request {
  const body = `${parts.map(([headers, text]) => `--${boundary}\r\n${headers}\r\n\r\n${text}\r\n`).join("")}--${boundary}--\r\n`;
  return new Request("http://localhost/", {
    method: "PUT",
    body,
    headers: { "content-type": `multipart/form-data; boundary=${boundary}` },
  });
}

const disposition = (rest: string, type?: string): string =>
  `Content-Disposition: form-data; ${rest}${type ? `\r\nContent-Type: ${type}` : ""}`;
const module = "application/javascript+module";
const metadata = '{"main_module":"index.js"}';

test.each([
  [
    "wrangler",
    request(
      [disposition('name="metadata"'), metadata],
      [disposition('name="index.js"; filename="index.js"', module), "code"],
    ),
  ],
  [
    "the SDK 6.5",
    request(
      [disposition('name="metadata"; filename="metadata"', "application/json"), metadata],
      [disposition('name="files"; filename="index.js"', module), "code"],
    ),
  ],
  [
    "Terraform",
    request(
      [disposition('name="index.js"; filename="index.js"', module), "code"],
      [disposition('name="metadata"', "application/json"), metadata],
    ),
  ],
])("reads an upload as %s sends it", async (_, sent) => {
  const { metadata, modules } = await readUpload(sent);
  expect(metadata).toEqual({ main_module: "index.js" });
  expect(modules).toEqual([{ name: "index.js", contentType: module, content: new TextEncoder().encode("code") }]);
});

test("a module without a file name goes by the name of its part", async () => {
  const { modules } = await readUpload(
    request([disposition('name="metadata"'), metadata], [disposition('name="index.js"'), "code"]),
  );
  expect(modules.map(({ name }) => name)).toEqual(["index.js"]);
});

test("another content type is the code of a service worker, whatever it holds", async () => {
  const sent = new Request("http://localhost/", {
    method: "PUT",
    body: "addEventListener()",
    headers: { "content-type": "application/javascript" },
  });
  expect(await readUpload(sent)).toEqual({
    metadata: { body_part: "worker.js" },
    modules: [
      {
        name: "worker.js",
        contentType: "application/javascript",
        content: new TextEncoder().encode("addEventListener()"),
      },
    ],
  });
});

test.each([
  ["no metadata", request([disposition('name="a.js"; filename="a.js"', module), "code"])],
  ["metadata that is no JSON", request([disposition('name="metadata"'), "{"])],
  ["metadata that is no object", request([disposition('name="metadata"'), "[1]"])],
  [
    "a body that is no multipart",
    new Request("http://localhost/", {
      method: "PUT",
      body: "x",
      headers: { "content-type": "multipart/form-data; boundary=y" },
    }),
  ],
])("refuses %s with 10021", async (_, sent) => {
  const refused = await readUpload(sent).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(ApiError);
  expect(refused).toMatchObject({ status: 400, code: 10021 });
});
