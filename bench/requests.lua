-- Walks the request lines of a file ("<path>\t<key>", and for a change its body), each thread some of them.
local requests = {}
local place = 0
local step = 1
local threads = 0

function setup(thread)
  thread:set("offset", threads)
  threads = threads + 1
end

function init(args)
  for line in io.lines(args[1]) do
    local path, key, body = line:match("([^\t]+)\t([^\t]+)\t?(.*)")
    local headers = { ["Authorization"] = "Bearer " .. key }
    local method = "GET"
    if body ~= "" then
      method = "PATCH"
      headers["Content-Type"] = "application/json"
    else
      body = nil
    end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  place = offset
  step = tonumber(args[2])
end

function request()
  place = place + step
  return requests[place % #requests + 1]
end

-- Anything but success spoils the figure, so it is counted and printed.
function done(summary, latency, _)
  io.write(string.format("RESULT %d %d %d %d %d %d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
