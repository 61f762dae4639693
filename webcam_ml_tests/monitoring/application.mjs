// An application in Node that scores pictures: as careless ones do, or by the package.
// Arguments: how, the model, the pictures. Prints the raw score of each as JSON.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import sharp from 'sharp';

const [how, modelPath, ...images] = process.argv.slice(1);

const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];

/**
 * What is found in many applications: sharp's defaults (cover, Lanczos, EXIF ignored) in front of a network
 * that sees 0 to 1. The file normalises by itself, so it gets the bytes of which that makes 0 to 1.
 */
async function careless() {
  const session = await InferenceSession.create(modelPath);
  const scores = [];
  for (const image of images) {
    const { data, info } = await sharp(image)
      .resize(224, 224)
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    const bytes = data.map((value, at) => Math.round(value * STD[at % 3] + 255 * MEAN[at % 3]));
    const tensor = new Tensor('uint8', bytes, [1, info.height, info.width, 3]);
    const outputs = await session.run({ image: tensor }, ['raw_score']);
    scores.push(outputs.raw_score.data[0]);
  }
  return scores;
}

async function byThePackage() {
  const { ImageError, Scorer } = await import('webcam-ml-scorer');
  const scorer = await Scorer.create({ mode: 'onnx', modelPath, withoutModel: 'unscored' });
  const scores = [];
  for await (const result of scorer.scoreMany(images.map((image) => ({ image })))) {
    if (result instanceof ImageError || result.path !== 'onnx') throw new Error(String(result.reason));
    scores.push(result.score.rawScore);
  }
  return scores;
}

process.stdout.write(JSON.stringify(await (how === 'careless' ? careless() : byThePackage())));
