// The common upstream of the benchmark: several MCP servers (2026-07-28, plain JSON) on one port, told apart by the first part of the path,
// and the database functions behind the Supabase state, so that the real entry for Deno can run without a database in the way.
//
// It speaks just enough HTTP/1.1 with keep-alive to be several times faster than any gateway in front of it. Usage: upstream PORT
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// Answers to MCP requests so far: the benchmark checks that a gateway did not answer in the upstream's place.
var answered atomic.Int64

const resultMeta = `"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"upstream","version":"1.0.0"}}`

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string `json:"name"`
		Arguments struct {
			Text string `json:"text"`
		} `json:"arguments"`
	} `json:"params"`
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go serve(connection)
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 65536)
	var body, out []byte
	for {
		path, length, err := readHead(reader)
		if err != nil {
			return
		}
		if cap(body) < length {
			body = make([]byte, length)
		}
		body = body[:length]
		for n := 0; n < length; {
			read, err := reader.Read(body[n:])
			if err != nil {
				return
			}
			n += read
		}
		answer := route(path, body)
		status := "200 OK"
		if answer == nil {
			status, answer = "404 Not Found", []byte(`{"error":"not found"}`)
		}
		out = append(out[:0], "HTTP/1.1 "...)
		out = append(out, status...)
		out = append(out, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		out = strconv.AppendInt(out, int64(len(answer)), 10)
		out = append(out, "\r\n\r\n"...)
		out = append(out, answer...)
		if _, err := connection.Write(out); err != nil {
			return
		}
	}
}

// Path and body length of the next request. Bodies come with their length: what the benchmark's gateways send.
func readHead(reader *bufio.Reader) (path string, length int, err error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return "", 0, err
	}
	parts := bytes.SplitN(line, []byte(" "), 3)
	if len(parts) < 3 {
		return "", 0, fmt.Errorf("not HTTP")
	}
	path = string(parts[1])
	chunked := false
	for {
		line, err = reader.ReadSlice('\n')
		if err != nil {
			return "", 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon == 14 && bytes.EqualFold(line[:14], []byte("content-length")) {
			length, err = strconv.Atoi(string(bytes.TrimSpace(line[15:])))
			if err != nil {
				return "", 0, err
			}
		}
		if colon == 17 && bytes.EqualFold(line[:17], []byte("transfer-encoding")) {
			chunked = true
		}
	}
	if chunked {
		fmt.Fprintln(os.Stderr, "the upstream takes no chunked bodies:", path)
		return "", 0, fmt.Errorf("chunked")
	}
	return path, length, nil
}

func route(path string, body []byte) []byte {
	switch {
	case path == "/answered":
		return strconv.AppendInt(nil, answered.Load(), 10)
	case strings.HasPrefix(path, "/rest/v1/rpc/federation_state_"):
		return stateCall(path[len("/rest/v1/rpc/federation_state_"):], body)
	case strings.HasSuffix(path, "/.well-known/federation"):
		return []byte(`{"serial":1}`)
	case strings.HasSuffix(path, "/mcp"):
		return mcp(path[:len(path)-len("/mcp")], body)
	}
	return nil
}

func mcp(server string, body []byte) []byte {
	var request message
	if err := json.Unmarshal(body, &request); err != nil {
		return nil
	}
	answered.Add(1)
	out := make([]byte, 0, 512)
	out = append(out, `{"jsonrpc":"2.0","id":`...)
	out = append(out, request.ID...)
	switch {
	case request.Method == "tools/list":
		out = append(out, `,"result":{"resultType":"complete","tools":[`...)
		out = append(out, tools(server)...)
		out = append(out, `],"ttlMs":5000,"cacheScope":"private",`+resultMeta+`}}`...)
	case request.Method == "tools/call" && request.Params.Name == "echo":
		text, _ := json.Marshal(request.Params.Arguments.Text)
		out = append(out, `,"result":{"resultType":"complete","content":[{"type":"text","text":`...)
		out = append(out, text...)
		out = append(out, `}],`+resultMeta+`}}`...)
	default:
		out = append(out, `,"error":{"code":-32602,"message":"Unknown tool"}}`...)
	}
	return out
}

var tools100, tools400 = toolList(100), toolList(400)

func tools(server string) []byte {
	if server == "/all" {
		return tools400
	}
	return tools100
}

// About 350 bytes a tool, as a real one has.
func toolList(count int) []byte {
	var out bytes.Buffer
	for n := range count {
		if n > 0 {
			out.WriteByte(',')
		}
		name := "echo"
		if n > 0 {
			name = fmt.Sprintf("tool_%03d", n)
		}
		fmt.Fprintf(&out, `{"name":%q,"title":"Tool number %d","description":"Answers the text that it is given, unchanged, as tool number %d of this server does.",`+
			`"inputSchema":{"type":"object","properties":{"text":{"type":"string","description":"The text to answer"},"count":{"type":"integer","minimum":1}},"required":["text"]}}`, name, n, n)
	}
	return out.Bytes()
}
