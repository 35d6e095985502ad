package main

// This file is the client of the measured server. It is in another process than the
// server and does little, so that it leaves the server its share of the machine.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// connections is how many keep-alive connections send requests at once.
const connections = 16

// A connection sends one session's requests.
type connection struct {
	net.Conn
	reader  *bufio.Reader
	path    string
	cookies string
	request []byte
	body    []byte
}

// A load is the connections to a server.
type load []*connection

// dial opens the connections. Each sends the Cookie header lines[i % len(lines)].
func dial(address, path string, lines []string) (load, error) {
	var l load
	for i := range connections {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			l.close()
			return nil, err
		}
		c := &connection{
			Conn: conn, reader: bufio.NewReader(conn), path: path, body: make([]byte, len(answerOf(subject))),
		}
		c.use(lines[i%len(lines)])
		l = append(l, c)
	}
	return l, nil
}

func (l load) close() {
	for _, c := range l {
		c.Close()
	}
}

// send sends n requests, and fails unless all answers are those of the pages.
func (l load) send(n int) error {
	return parallel(len(l), n, func(worker, n int) error {
		for range n {
			if err := l[worker].send(); err != nil {
				return err
			}
		}
		return nil
	})
}

// use prepares the request with that Cookie header.
func (c *connection) use(cookies string) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: text/html\r\n",
		c.path, strings.TrimPrefix(appURL, "https://"))
	if cookies != "" {
		fmt.Fprintf(&b, "Cookie: %s\r\n", cookies)
	}
	b.WriteString("\r\n")
	c.cookies, c.request = cookies, b.Bytes()
}

func (c *connection) send() error {
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	status, err := c.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("the server answered %q", status)
	}
	length, renewed, err := c.readHeader()
	if err != nil {
		return err
	}
	if length != len(c.body) {
		return fmt.Errorf("the body has %d bytes, want %d", length, len(c.body))
	}
	if _, err := io.ReadFull(c.reader, c.body); err != nil {
		return err
	}
	if string(c.body) != answerOf(subject) {
		return fmt.Errorf("the server answered %q", c.body)
	}
	if renewed != "" {
		c.use(renewed)
	}
	return nil
}

// readHeader returns the length of the body, and the new Cookie header if the server
// set cookies.
func (c *connection) readHeader() (length int, cookies string, err error) {
	length = -1
	var set []string
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, "", err
		}
		name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		switch {
		case len(name) == 0:
			if set != nil {
				cookies = renewed(c.cookies, http.Header{"Set-Cookie": set})
			}
			return length, cookies, nil
		case !ok:
			return 0, "", errors.New("a malformed header")
		case string(name) == "Content-Length":
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, "", err
			}
		case string(name) == "Set-Cookie":
			set = append(set, string(value))
		}
	}
}
