-- Walks the request lines of a file ("<path>\t<key>"), each thread from a place of its own.
local requests = {}
local place = 0
local threads = 0

function setup(thread)
  thread:set("offset", threads * 7919)
  threads = threads + 1
end

function init(args)
  for line in io.lines(args[1]) do
    local path, key = line:match("([^\t]+)\t([^\t]+)")
    requests[#requests + 1] = wrk.format("GET", path, { ["Authorization"] = "Bearer " .. key })
  end
  place = offset
end

function request()
  place = place + 1
  return requests[place % #requests + 1]
end

-- Anything but success spoils the figure, so it is counted and printed.
function done(summary, latency, _)
  io.write(string.format("RESULT %d %d %d %d %d %d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
