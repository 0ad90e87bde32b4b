// A conversation between two users of the npm package `ws`: what is sent by one arrives at the other, once, in order.
// Usage: node node.mjs URL TOKEN_A TOKEN_B CONVERSATION
import WebSocket from "ws";

const [url, tokenA, tokenB, conversation] = process.argv.slice(2);
const COUNT = 20;

function client(token, device) {
  const socket = new WebSocket(url, ["murmuring.v1.json"], { headers: { Authorization: `Bearer ${token}` } });
  const frames = [];
  const waiting = [];
  socket.on("message", (data, isBinary) => {
    if (isBinary) throw new Error("a binary frame on the JSON subprotocol");
    frames.push(JSON.parse(data.toString()));
    for (const check of [...waiting]) check();
  });
  const until = (found) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`nothing found in ${JSON.stringify(frames)}`)), 10_000);
      const check = () => {
        const result = found(frames);
        if (!result) return;
        clearTimeout(timer);
        waiting.splice(waiting.indexOf(check), 1);
        resolve(result);
      };
      waiting.push(check);
      check();
    });
  const send = (frame) => socket.send(JSON.stringify(frame));
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("open", async () => {
      send({ op: "hello", device });
      await until((all) => all.find((frame) => frame.op === "welcome"));
      resolve({ socket, send, until, frames });
    });
  });
}

const a = await client(tokenA, "node-a");
const b = await client(tokenB, "node-b");
for (let n = 0; n < COUNT; n++) a.send({ op: "send", id: `n${n}`, conversation, body: `message ${n} ✓` });
const events = await b.until((all) => {
  const found = all.filter((frame) => frame.op === "event");
  return found.length >= COUNT && found;
});
events.forEach((event, n) => {
  if (event.body !== `message ${n} ✓` || event.seq !== events[0].seq + n) throw new Error(JSON.stringify(event));
});
const acks = await a.until((all) => {
  const found = all.filter((frame) => frame.op === "ack");
  return found.length >= COUNT && found;
});
if (acks.some((ack, n) => ack.id !== `n${n}` || ack.duplicate)) throw new Error("acks out of order");
for (const { socket } of [a, b]) socket.close(1000);
console.log("ok");
