/** What a door or a passage is started with, what it leaves on disk for an agent that comes after, and how the two greet. */
import type { TlsFiles } from "../../lib/client.ts";

/** By their names in the domain, such as "vda". `overlays`: each image's own bytes; `full`: all that the guest sees. */
export type CopiedDevices = { devices: readonly string[]; how: "overlays" | "full" };

/** Lets one other host's libvirt reach this one's for one migration. */
export type DoorGrant = {
  kind: "door";
  migrationUid: string;
  /** Address of this host, and the ports to choose from; any free one when absent. */
  host: string;
  ports?: { first: number; last: number } | undefined;
  tls: TlsFiles;
  /** The one URI that the peer's certificate must carry. */
  peer: string;
  libvirtSocket: string;
  /** Where QEMU receives the guest's memory. */
  memoryUri: string;
  /** The domain as this agent would make it. */
  intendedXml: string;
  /** Disks whose bytes come along; absent when none do. */
  copied?: CopiedDevices | undefined;
  stateFile: string;
  /** On which the agent hears what the door refuses. */
  controlSocket: string;
};

/** Leads this host's libvirt to another host's door. */
export type PassageGrant = {
  kind: "passage";
  migrationUid: string;
  /** host:port of the door. */
  door: string;
  serverName: string;
  tls: TlsFiles;
  peer: string;
  stateFile: string;
  /** On which it waits for this host's libvirt. */
  socket: string;
};

export type Grant = DoorGrant | PassageGrant;

/** The state file: which process it is, and where it is reached. */
export type Standing = { pid: number; startTicks: string; address: string; grantDigest: string };

/** What a process says on its standard output, once. */
export type FirstWord = { ready: Standing } | { failed: string };

/** What a door says on its control socket, line by line; from its beginning, to each who asks. */
export type DoorWord = { refused: { peer: string; reason: string; procedure?: number } };

/**
 * What a door says first to whom it lets in. In TLS 1.3 the handshake is over for a client before the server has looked at
 * its certificate, so the passage waits for this.
 */
export const WELCOME = Buffer.from("drover-door\n");
