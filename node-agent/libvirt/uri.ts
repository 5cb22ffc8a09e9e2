/** What a libvirt URI says of how its daemon is reached (pure). */

/** Where the modular and the monolithic daemon listen when the URI names no socket. */
const DEFAULT_SOCKETS = ["/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"];

/** The sockets of which one must answer, before libvirt is asked to open the URI; none for what is not local. */
export function localSockets(uri: string): readonly string[] {
  const { protocol, hostname, searchParams } = new URL(uri);
  if (hostname !== "" || !["qemu:", "qemu+unix:"].includes(protocol)) return [];
  const socket = searchParams.get("socket");
  return socket === null ? DEFAULT_SOCKETS : [socket];
}

/**
 * Each connection of libvirt's test driver to a file is a host of its own, so everything must go over one; it also
 * lacks keepalive, jobs and migration.
 */
export function isTestDriver(uri: string): boolean {
  return uri.startsWith("test:");
}
