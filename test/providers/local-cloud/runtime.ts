// A runtime for the tests: a small server with the behaviours that the supervisor and the front must cope with.
// Run as `node runtime.ts PORT`; GREETING is what it says, START_DELAY the milliseconds until it listens.
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const [port] = process.argv.slice(2);
let aborted = 0;

const server = createServer(async (request, response) => {
  const path = request.url!.split("?")[0];
  if (path === "/env") return void response.end(JSON.stringify(process.env));
  if (path === "/headers") return void response.end(JSON.stringify({ url: request.url, raw: request.rawHeaders }));
  if (path === "/aborted") return void response.end(String(aborted));
  if (path === "/die") process.kill(process.pid, "SIGKILL");
  if (path === "/talk") {
    for (let line = 0; line < 100; line++) console.log(`${line} ${"x".repeat(90)}`);
    return void response.end("said");
  }
  if (path === "/echo") {
    response.writeHead(
      201,
      "Echoed",
      [
        ["Set-Cookie", "a=1"],
        ["Set-Cookie", "b=2"],
        ["Connection", "X-Hop"],
        ["X-Hop", "1"],
      ].flat(),
    );
    return void request.pipe(response);
  }
  if (path === "/events") {
    response.on("close", () => response.writableFinished || aborted++);
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let event = 0; !response.destroyed; event++) {
      response.write(`data: ${event}\n\n`);
      await sleep(50);
    }
    return;
  }
  response.end(`${process.env.GREETING ?? "hello"} ${process.pid}`);
});
server.on("upgrade", (request, socket, head) => {
  if (request.url === "/refused") return void socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nwelcome;");
  socket.write(head);
  socket.pipe(socket);
});
if (process.env.IGNORE_SIGTERM) process.on("SIGTERM", () => console.log("not me"));
await sleep(Number(process.env.START_DELAY ?? 0));
server.listen(Number(port), "127.0.0.1");
