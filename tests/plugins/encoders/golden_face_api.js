// What the package's own runtime says of pictures: the golden values of face-api's networks. In an empty folder:
//   npm install @tensorflow/tfjs@4.22.0 @vladmandic/face-api@1.7.15
//   mkdir node_modules/@tensorflow/tfjs-node && echo 'module.exports = require("@tensorflow/tfjs")' > node_modules/@tensorflow/tfjs-node/index.js
//   python -c 'from drawn_face import drawn_face; [drawn_face(h, w).tofile(f"{h}x{w}.rgb") for h, w in ((150, 121), (96, 150))]'
//   node golden_face_api.js 150x121.rgb 96x150.rgb > golden_face_api.json
// A file holds the bytes of red, green, blue of each pixel, row by row, and is called by its height and width.
const fs = require('fs')
const path = require('path')
const api = require('@vladmandic/face-api')

const SIZES = [160, 224, 416]
const rounded = (values) => Array.from(values, (value) => Number(value.toFixed(6)))

async function told (file) {
  const [height, width] = path.basename(file).match(/\d+/g).map(Number)
  const pixels = api.tf.tensor4d(new Uint8Array(fs.readFileSync(file)), [1, height, width, 3], 'int32').toFloat()
  const input = await api.toNetInput(pixels)
  const person = await api.nets.ageGenderNet.predictAgeAndGender(pixels)
  const points = await api.nets.faceLandmark68Net.detectLandmarks(pixels)
  const faces = {}
  for (const inputSize of SIZES) {
    const found = await api.nets.tinyFaceDetector.locateFaces(pixels, new api.TinyFaceDetectorOptions({ inputSize }))
    faces[inputSize] = found.map(({ score, box }) => rounded([box.left, box.top, box.right, box.bottom, score]))
  }
  return {
    height,
    width,
    pooled: rounded(api.nets.faceExpressionNet.faceFeatureExtractor.forwardInput(input).dataSync()),
    expression: rounded(api.nets.faceExpressionNet.forwardInput(input).dataSync()),
    years: rounded([person.age])[0],
    male: rounded([person.gender === 'male' ? person.genderProbability : 1 - person.genderProbability])[0],
    points: points.positions.map(({ x, y }) => rounded([x / width, y / height])),
    faces
  }
}

async function main () {
  await api.tf.setBackend('cpu')
  const models = path.join(path.dirname(require.resolve('@vladmandic/face-api')), '..', 'model')
  for (const name of ['faceExpressionNet', 'ageGenderNet', 'faceLandmark68Net', 'tinyFaceDetector']) {
    await api.nets[name].loadFromDisk(models)
  }
  const out = []
  for (const file of process.argv.slice(2)) out.push(await told(file))
  fs.writeFileSync(process.stdout.fd, JSON.stringify(out) + '\n')
}

main()
