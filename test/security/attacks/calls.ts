/** What attackers call; each takes an empty request, and refuses or answers it. */
export const GET = "/drover.v1.AuthService/WhoAmI";
export const LIST = "/drover.v1.NamespaceService/ListNamespaces";
export const WATCH = "/drover.v1.NamespaceService/WatchNamespaces";
export const EMPTY = Buffer.alloc(0);
