// A broadcast server on `ws`: a client's first frame names its room, every further one goes to the whole room.
// `node server.js PORT`. The broadcast is that of the README; compression is off, as it is by default.

import { WebSocketServer, WebSocket } from "ws";

const rooms = new Map();
const port = Number(process.argv[2]);
const server = new WebSocketServer({ host: "127.0.0.1", port, backlog: 4096, clientTracking: false });

server.on("connection", (socket) => {
  let room;
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    if (room === undefined) {
      const name = data.toString();
      room = rooms.get(name) ?? new Set();
      rooms.set(name, room);
      room.add(socket);
      return;
    }
    for (const member of room) {
      if (member.readyState === WebSocket.OPEN) {
        member.send(data, { binary: isBinary });
      }
    }
  });
  socket.on("close", () => room?.delete(socket));
});
