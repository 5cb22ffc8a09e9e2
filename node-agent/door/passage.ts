/**
 * The passage: a unix socket on which this host's libvirt finds the door of another host. It dials first, so that a door
 * that is not there or is somebody else's is known before a guest is asked to move.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { checkServerIdentity, connect } from "node:tls";
import type { PeerCertificate, TLSSocket } from "node:tls";
import type { Clock } from "../../lib/clock.ts";
import { forward } from "./forward.ts";
import { WELCOME } from "./grant.ts";
import type { PassageGrant } from "./grant.ts";
import { uriOf } from "./peer.ts";

const DIAL_MS = 10_000;
const TCP_KEEPALIVE_MS = 10_000;
/** Between its opening and libvirt's connection lies one report to the API server, which may be down for a while. */
const UNUSED_MS = 600_000;

export class NoDoor extends Error {
  override name = "NoDoor";
}

export async function openPassage(grant: PassageGrant, clock: Clock, ended: () => void): Promise<{ close(): void }> {
  const door = await dial(grant, clock);
  const server = createServer();
  let local: Socket | undefined;
  const end = () => {
    server.close();
    local?.destroy();
    door.destroy();
    ended();
  };
  const unused = clock.after(UNUSED_MS, end);
  door.once("close", end);
  server.on("connection", (socket) => {
    unused.cancel();
    // libvirt makes one connection for a migration; when it ends, so does everything.
    server.close();
    if (local) return void socket.destroy();
    local = socket;
    splice(socket, door);
  });
  await listening(server, grant.socket);
  // What is under way ends by itself.
  return { close: () => (local ? undefined : end()) };
}

function splice(local: Socket, door: Socket): void {
  local.on("data", (bytes) => forward(bytes, { from: local, to: door }));
  door.on("data", (bytes) => forward(bytes, { from: door, to: local }));
  for (const event of ["end", "close", "error"]) {
    local.on(event, () => door.destroySoon());
    door.on(event, () => local.destroySoon());
  }
}

function dial({ door, serverName, tls, peer }: PassageGrant, clock: Clock): Promise<TLSSocket> {
  const { hostname, port } = new URL(`tcp://${door}`);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port),
      servername: serverName,
      ca: readFileSync(tls.ca),
      cert: readFileSync(tls.cert),
      key: readFileSync(tls.key),
      minVersion: "TLSv1.3",
      checkServerIdentity: (name, certificate) => checkServerIdentity(name, certificate) ?? checkPeer(certificate, peer),
    });
    const fail = (cause: Error) => {
      timer.cancel();
      socket.destroy();
      reject(new NoDoor(`Cannot reach the target's door at ${door}: ${cause.message}`, { cause }));
    };
    const timer = clock.after(DIAL_MS, () => fail(new Error("no answer")));
    socket.once("error", fail);
    const closed = () => fail(new Error("it lets somebody else in, or nobody"));
    socket.once("close", closed);
    socket.on("readable", () => {
      const welcome = socket.read(WELCOME.length) as Buffer | null;
      if (welcome === null) return;
      if (!welcome.equals(WELCOME)) return fail(new Error("it is no door"));
      timer.cancel();
      socket.off("error", fail).off("close", closed).removeAllListeners("readable").on("error", () => socket.destroy());
      resolve(socket.setNoDelay(true).setKeepAlive(true, TCP_KEEPALIVE_MS));
    });
  });
}

function checkPeer(certificate: PeerCertificate, peer: string): Error | undefined {
  const uri = uriOf(certificate.subjectaltname);
  return uri === peer ? undefined : new Error(`its certificate is for "${uri ?? "nobody"}"`);
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
}
