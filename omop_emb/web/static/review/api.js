// Questions to the server: JSON in, JSON out; what goes wrong is an ApiError that says whether to try again.

const root = document.body.dataset.root;
const TIMEOUT_MS = 30_000;
/** Who opened this page: what waits here is nobody else's, whoever signs in meanwhile in another tab. */
export const reviewer = document.querySelector("[data-reviewer]")?.dataset.reviewer ?? "";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status; // 0: no answer
    this.isTemporary = status === 0 || status === 401 || status === 408 || status === 429 || status >= 500;
  }
}

/** The answer to a question below the server's root, such as "/api/v1/search?q=htn". */
export async function ask(path, body) {
  const options = { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(TIMEOUT_MS) };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    if (reviewer) options.headers["X-Reviewer"] = encodeURIComponent(reviewer);
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(root + path, options);
  } catch {
    throw new ApiError("the server cannot be reached", 0);
  }
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    if (response.ok) throw new ApiError("the server's answer broke off", 0);
  }
  if (response.ok) return answer;
  if (response.status === 401) throw new ApiError("sign in again: open the link that omop-emb serve printed", 401);
  throw new ApiError(answer?.detail ?? `the server answered ${response.status}`, response.status);
}

/** Questions about one review. */
export function reviewApi(projectId) {
  const base = `/api/v1/reviews/${projectId}`;
  return {
    queue: (query) => ask(`${base}/queue?${query}`),
    choices: () => ask(`${base}/choices`),
    rows: async (positions) => (await ask(`${base}/rows?positions=${positions.join(",")}`)).rows,
    card: (position) => ask(`${base}/terms/${position}`),
    group: (position) => ask(`${base}/terms/${position}/group`),
    nearGroups: (position) => ask(`${base}/near-groups?position=${position}&limit=10`),
    changes: (after, since) =>
      ask(`${base}/changes?after=${after}${since ? `&since=${encodeURIComponent(since)}` : ""}`),
    decide: (decisions) => ask(`${base}/decisions`, { decisions }),
    decideGroup: ({ id, members, verdict }) => ask(`${base}/groups`, { request_id: id, members, verdict }),
    undo: (requestId) => ask(`${base}/undo`, { request_id: requestId }),
  };
}
