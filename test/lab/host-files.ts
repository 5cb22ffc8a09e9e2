/** The directories and configuration of one lab host. They stay when the host loses power, as a disk would. */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

const KEPT = ["etc/libvirt/qemu", "etc/pki", "var/lib", "var/log", "var/cache", "local", "scratch"];

export type HostIdentity = { name: string; address: string; uuid: string };

export async function makeHostDirectories(directory: string, host: HostIdentity, peers: readonly HostIdentity[]): Promise<void> {
  for (const path of KEPT) await mkdir(join(directory, path), { recursive: true });
  await writeFile(join(directory, "etc/libvirt/libvirtd.conf"), libvirtdConfig(host));
  await writeFile(join(directory, "etc/libvirt/qemu.conf"), qemuConfig(host));
  const names = peers.map(({ address, name }) => `${address} ${name}`);
  await writeFile(join(directory, "hosts"), ["127.0.0.1 localhost", ...names, ""].join("\n"));
}

/** What a real host holds in memory and finds empty after each boot. */
export async function emptyRunDirectory(directory: string): Promise<void> {
  await rm(join(directory, "run"), { recursive: true, force: true });
  await rm(join(directory, "ready"), { force: true });
  await mkdir(join(directory, "run/libvirt"), { recursive: true });
}

/**
 * Libvirt takes two daemons with one uuid for the same host and refuses to migrate between them. It listens on its unix
 * sockets alone, as on every host of Drover.
 */
export function libvirtdConfig({ uuid }: HostIdentity): string {
  return `host_uuid = "${uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
keepalive_interval = 2
keepalive_count = 3
max_clients = 200
max_workers = 40
max_client_requests = 20
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
`;
}

/** No control groups, no private /dev and no chown: the host's namespaces are the lab's isolation. */
export function qemuConfig({ address }: HostIdentity): string {
  return `user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
migration_address = "${address}"
keepalive_interval = 3
keepalive_count = 3
default_tls_x509_cert_dir = "/etc/pki/qemu"
migrate_tls_x509_cert_dir = "/etc/pki/qemu"
migrate_tls_x509_verify = 1
`;
}
